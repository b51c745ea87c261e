"""What stored cells say about one entry of the layout: on each victim, over victims, and the best of several attacks.

An attacker's seeds are averaged row by row within their victim; the victim is the unit of every interval that speaks
of more than one (statistics.state).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy

from ...attacks.attack import Goal
from ..cells import cell as store
from ..cells.fields import numbered, without_numbers
from ..cells.scoring import JUDGED, PRIMARY
from ..digest import digest
from ..planning.layout import Entry, Layout
from ..statistics import FEWEST_VICTIMS, Measured, PerfectTwin, best, state
from ..suites.arrange import Role

ROLES: tuple[Role, ...] = ("control", "row", "point")
"""Where the same attack on a control's group is looked for."""

KEPT = 64
"""Entries whose rows stay in memory: a control stands near what it controls."""


@dataclass(frozen=True)
class Stated:
    """An entry's numbers on one victim, or over all of them."""

    victim: int | None
    """None where the victims are the unit."""
    fields: Mapping[str, Any]
    """What every metric's row repeats, its outcome included."""
    metrics: Sequence[Mapping[str, Any]]
    """One for each metric; a single one without numbers where the entry has no score."""
    cells: tuple[str, ...]
    victims: tuple[int, ...]
    chosen: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        return bool(self.fields["status"] == "scored")


@dataclass(frozen=True)
class OnVictim:
    """One victim's cells of an entry, the attacker's seeds put together."""

    fields: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    measured: Mapping[str, Measured] = field(default_factory=dict)


class Evidence:
    """Reads cells and states numbers; everything it says follows from the folder."""

    def __init__(self, out: Path, layout: Layout) -> None:
        self._root, self._layout = out / "cells", layout
        self._by_code = {(e.group, e.code, e.role): at for at, e in enumerate(layout.entries)}
        self.stated = lru_cache(maxsize=KEPT)(self._stated)
        self.contest = lru_cache(maxsize=KEPT)(self._contest)

    def control(self, entry: Entry, group: str) -> int | None:
        """The place of the same attack on a control's group."""
        found = (self._by_code.get((group, entry.code, role)) for role in ROLES)
        return next((at for at in found if at is not None), None)

    def _there(self, keys: Sequence[str]) -> bool:
        """Whether cells are stored: none are of a run that could not be recorded, or of votes with a single voter."""
        return all((self._root / key / "result.json").exists() for key in keys)

    def _stated(self, at: int) -> tuple[Stated, ...]:
        """Each victim's numbers, the whole entry's first where there are enough victims."""
        entry = self._layout.entries[at]
        found = {v: self._on_victim(keys) for v, keys in entry.cells.items() if self._there(keys)}
        victims = tuple(found)
        single = tuple(
            Stated(victim, one.fields, one.metrics, entry.cells[victim], (victim,)) for victim, one in found.items()
        )
        if len(entry.cells) < FEWEST_VICTIMS or not found:
            return single
        every = tuple(key for keys in entry.cells.values() for key in keys)
        place = [*every, entry.role, entry.place.curve if entry.place else ""]
        named = {"cell": f"{entry.group}-{entry.attack}-{digest(place)}", "seed": None}
        fields = {**_shared(list(found.values())), **named}
        if absent := len(entry.cells) - len(found):
            fields |= {"status": "failed", "reason": f"{absent} of {len(entry.cells)} victims have no result"}
        if fields["status"] != "scored":
            return Stated(None, fields, [without_numbers()], every, victims), *single
        metrics = over([one.measured for one in found.values()], Goal(entry.goal), entry.code)
        return Stated(None, fields, metrics, every, victims), *single

    def _on_victim(self, keys: Sequence[str]) -> OnVictim:
        records = [store.read(self._root, key) for key in keys]
        fields = _shared([OnVictim(record["fields"], ()) for record in records])
        if fields["status"] != "scored":
            return OnVictim(fields, [without_numbers()])
        rows = [store.read_rows(self._root, key) for key in keys]
        if len(keys) == 1:
            return OnVictim(fields, records[0]["metrics"], rows[0])
        measured = {
            metric: nested([own[metric] for own in rows]) for metric in rows[0] if all(metric in o for o in rows)
        }
        return OnVictim(fields, over([measured], Goal(fields["goal"]), keys[0]), measured)

    def _contest(self, at: int) -> tuple[Stated, ...]:
        """`best` among a composite and its members: chosen on one half of the rows, reported on the other."""
        composite = self._layout.entries[at]
        members = [*(self._layout.entries[m] for m in composite.among), composite]
        chosen: dict[str, None] = {}
        on_victims: dict[int, dict[str, Measured]] = {}
        cells: dict[int, tuple[str, ...]] = {}
        among: dict[str, None] = {}
        first: Mapping[str, Any] | None = None
        for victim in composite.cells:
            scored = {
                called(e): one
                for e in members
                if self._there(e.cells[victim])
                and (one := self._on_victim(e.cells[victim])).fields["status"] == "scored"
            }
            if len(scored) < 2:
                return ()
            first = first or next(iter(scored.values())).fields
            on_victims[victim] = {}
            for metric in [m for m in next(iter(scored.values())).measured if m in JUDGED]:
                half, name = best({n: one.measured[metric] for n, one in scored.items() if metric in one.measured})
                on_victims[victim][metric] = half
                chosen[name] = None
            cells[victim] = tuple(key for e in members for key in e.cells[victim] if called(e) in scored)
            among |= dict.fromkeys(scored)
        assert first is not None
        fields = {**first, **_BEST, "among": list(among), "chosen": list(chosen)}
        return tuple(self._of_best(composite, fields, on_victims, cells))

    def _of_best(
        self,
        composite: Entry,
        fields: Mapping[str, Any],
        on_victims: Mapping[int, Mapping[str, Measured]],
        cells: Mapping[int, tuple[str, ...]],
    ) -> list[Stated]:
        goal, code = Goal(composite.goal), f"best {composite.code}"
        name, role = f"{composite.group}-best-{composite.goal}", composite.role
        victims = tuple(on_victims)
        whole = len(victims) >= FEWEST_VICTIMS
        stated = []
        for victim, behind in [(None, victims)] if whole else [(victim, (victim,)) for victim in victims]:
            every = tuple(key for v in behind for key in cells[v])
            own = {**fields, "cell": f"{name}-{digest([*every, role])}", "seed": victim}
            try:
                metrics = over([on_victims[v] for v in behind], goal, f"{code} {victim}")
            except PerfectTwin as error:
                own, metrics = {**own, "status": "failed", "reason": str(error)}, [without_numbers()]
            stated.append(Stated(victim, own, metrics, every, behind))
        return stated


_BEST: Mapping[str, Any] = {
    "attack": "best",
    "attack_source": "harness: chosen on one half of the rows, reported on the other",
    "settings": {},
    "consumes": [],
    "seconds": None,
    "prepare_seconds": None,
    "reason": None,
}


def called(entry: Entry) -> str:
    """An attack with its settings."""
    inside = ", ".join(f"{name}={value}" for name, value in sorted(entry.settings.items()))
    return f"{entry.attack} ({inside})" if inside else entry.attack


def over(victims: Sequence[Mapping[str, Measured]], goal: Goal, code: str) -> list[dict[str, Any]]:
    """Each metric's numbers on one victim, or over several; a metric that some victim lacks is left out."""
    found = []
    for metric in [m for m in victims[0] if all(m in one for one in victims)]:
        generator = numpy.random.default_rng([int(digest([code, metric]), 16)])
        judged = metric in JUDGED
        numbers = state([one[metric] for one in victims], generator, judged=judged)
        found.append(numbered(metric, metric == PRIMARY[goal], judged, numbers))
    return found


def nested(measured: Sequence[Measured]) -> Measured:
    """One victim's rows, averaged over the attacker's seeds."""
    first = measured[0]
    if any(one.ids != first.ids for one in measured):
        raise ValueError("the attacker's seeds were scored on different rows")
    return Measured(
        first.ids,
        numpy.mean([one.attack for one in measured], axis=0),
        _mean_sides([one.outsider for one in measured]),
        _mean_sides([one.rest for one in measured]),
        blind=first.blind,
    )


def _mean_sides(sides: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: numpy.mean([side[name] for side in sides], axis=0) for name in sides[0] if all(name in s for s in sides)
    }


def _shared(found: Sequence[OnVictim]) -> dict[str, Any]:
    """The fields of several cells as those of one: the worst status counts, and its reason says of how many."""
    first = dict(found[0].fields)
    statuses = [one.fields["status"] for one in found]
    worst = "failed" if "failed" in statuses or len(set(statuses)) > 1 else statuses[0]
    told = list(
        dict.fromkeys(one.fields["reason"] for one in found if one.fields["status"] == worst and one.fields["reason"])
    )
    times = [one.fields["seconds"] for one in found if one.fields["seconds"] is not None]
    count = statuses.count(worst)
    reason = "; ".join(told) or None
    if worst == "failed" and len(found) > 1:
        reason = f"{count} of {len(found)} failed: {reason or 'the others have another outcome'}"
    return {**first, "status": worst, "reason": reason, "seconds": round(sum(times), 3) if times else None}
