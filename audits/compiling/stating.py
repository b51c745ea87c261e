"""What stored cells say about one entry of the layout: on each victim, and over victims.

An attacker's seeds are averaged row by row within their victim; the victim is the unit of every interval that speaks
of more than one (statistics.state).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy

from ...attacks.attack import Goal
from ...system import files
from ..cells import cell as store
from ..cells.fields import stated, without_numbers
from ..cells.scoring import JUDGED
from ..digest import SCHEMA, digest
from ..planning.layout import Entry, Layout
from ..statistics import FEWEST_VICTIMS, Measured, PerfectTwin, Values

KEPT = 64
"""Entries whose rows stay in memory: a control stands near what it controls."""

AVERAGED = ("utility", "uplink_bytes_per_sample", "downlink_bytes_per_sample", "device_seconds_per_sample")
"""Fields whose mean stands for several victims."""

OUTCOME = ("status", "reason", "seconds", "peak_mib", *AVERAGED)


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

    @property
    def scored(self) -> bool:
        return bool(self.fields["status"] == "scored")


@dataclass(frozen=True)
class OnVictim:
    """One victim's cells of an entry, the attacker's seeds put together."""

    fields: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    cells: tuple[str, ...] = ()
    measured: Mapping[str, Measured] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        return bool(self.fields["status"] == "scored")


class Cells:
    """Reads an audit's cells and states numbers; everything it says follows from the folder."""

    def __init__(self, out: Path, layout: Layout) -> None:
        self._out, self._root, self.layout = out, out / "cells", layout
        self._runs = {group.group: group for group in layout.groups}
        path = out / "unrecorded.json"
        self.unrecorded: Mapping[str, str] = files.read_json(path) if path.exists() else {}
        self.stated = lru_cache(maxsize=KEPT)(self._stated)

    def _stated(self, at: int) -> tuple[Stated, ...]:
        """Each victim's numbers, the whole entry's first where there are enough victims."""
        entry = self.layout.entries[at]
        found = {victim: one for victim in entry.cells if (one := self.on_victim(entry, victim))}
        single = each_victim(found)
        if len(entry.cells) < FEWEST_VICTIMS or not found:
            return single
        return over_victims(entry, entry.attack, found), *single

    def on_victim(self, entry: Entry, victim: int) -> OnVictim | None:
        """One victim's outcome; None of a composite that was not made, as fewer than two attacks had a score."""
        keys = entry.cells[victim]
        if not all((self._root / key / "result.json").exists() for key in keys):
            return None if entry.among else OnVictim(self._missing(entry, victim), [without_numbers()], keys)
        fields = shared((store.read(self._root, key)["fields"] for key in keys), "attacker's seeds")
        if fields["status"] != "scored":
            return OnVictim(fields, [without_numbers()], keys)
        if len(keys) == 1:
            return OnVictim(fields, store.read(self._root, *keys)["metrics"], keys, store.read_rows(self._root, *keys))
        try:
            measured = nested(store.read_rows(self._root, key) for key in keys)
            return OnVictim(fields, stated([measured], Goal(entry.goal), keys[0]), keys, measured)
        except ValueError as error:  # a perfect twin, or seeds that were not scored alike
            return OnVictim({**fields, "status": "failed", "reason": str(error)}, [without_numbers()], keys)

    def _missing(self, entry: Entry, victim: int) -> dict[str, Any]:
        """The fields of a cell that is not there."""
        group = self._runs[entry.group]
        run = group.runs[victim]
        path = self._out / "runs" / run / "run.json"
        reason = "it has no result yet; run the audit again to finish it"
        if not path.exists():
            reason = f"its run was not recorded: {self.unrecorded.get(run, 'run the audit again to finish it')}"
        return {
            "schema": SCHEMA,
            "cell": entry.cells[victim][0],
            "run": run,
            "protocol": group.protocol,
            "label": group.label,
            "settings": dict(entry.settings),
            "attack": entry.attack,
            "goal": entry.goal,
            "seed": victim,
            "status": "failed",
            "reason": reason,
            "seconds": None,
            "peak_mib": None,
            **dict.fromkeys((*AVERAGED, "defence", "epsilon", "epsilon_example", "epsilon_released", "roc")),
        }


def each_victim(found: Mapping[int, OnVictim]) -> tuple[Stated, ...]:
    """Every victim for itself."""
    return tuple(Stated(victim, one.fields, one.metrics, one.cells, (victim,)) for victim, one in found.items())


def over_victims(entry: Entry, name: str, found: Mapping[int, OnVictim]) -> Stated:
    """The numbers of all victims; failed where one of them is, since a mean without it would speak of the others."""
    every = tuple(key for one in found.values() for key in one.cells)
    place = [name, *every, entry.role, entry.place.curve if entry.place else ""]
    fields = shared([one.fields for one in found.values()], "victims")
    fields |= {"cell": f"{entry.group}-{name}-{digest(place)}", "seed": None, "roc": None}
    metrics: Sequence[Mapping[str, Any]] = [without_numbers()]
    if len(found) < len(entry.cells):
        absent = len(entry.cells) - len(found)
        fields |= {"status": "failed", "reason": f"{absent} of {len(entry.cells)} victims have too few scored attacks"}
    if fields["status"] == "scored":
        try:
            metrics = stated([one.measured for one in found.values()], Goal(entry.goal), digest(place))
        except PerfectTwin as error:
            fields |= {"status": "failed", "reason": str(error)}
    return Stated(None, fields, metrics, every, tuple(found))


def nested(seeds: Iterable[Mapping[str, Measured]]) -> dict[str, Measured]:
    """One victim's rows, averaged over the attacker's seeds, of which one at a time is in memory.

    A judged metric must have been scored alike under every seed, twins included; ValueError where it was not.
    """
    several, count = iter(seeds), 1
    sums = dict(next(several))
    for seed in several:
        count += 1
        alike = {name for name in sums if name in seed and _layout_of(seed[name]) == _layout_of(sums[name])}
        if apart := [metric for metric in sums if metric not in alike and metric in JUDGED]:
            raise ValueError(
                f"the attacker's seeds were scored on different rows or beside different twins ({apart[0]})"
            )
        sums = {name: _combined(sums[name], seed[name], numpy.add) for name in sums if name in alike}
    return {name: _combined(one, one, lambda total, _: total / count) for name, one in sums.items()}


def _combined(one: Measured, other: Measured, made: Callable[[Values, Values], Values]) -> Measured:
    """Two results with the same layout, each pair of arrays made into one."""
    return replace(
        one,
        attack=made(one.attack, other.attack),
        outsider={name: made(values, other.outsider[name]) for name, values in one.outsider.items()},
        rest={name: made(values, other.rest[name]) for name, values in one.rest.items()},
    )


def _layout_of(measured: Measured) -> tuple[object, ...]:
    return measured.ids, set(measured.outsider), set(measured.rest), measured.blind, measured.direction


def shared(found: Iterable[Mapping[str, Any]], what: str) -> dict[str, Any]:
    """The fields of several outcomes as those of one; one that failed, or outcomes that differ, fail the whole."""
    several = iter(found)
    first = next(several)
    outcomes = [{name: f.get(name) for name in OUTCOME} for f in chain([first], several)]
    statuses = [outcome["status"] for outcome in outcomes]
    status = statuses[0] if len(set(statuses)) == 1 else "failed"
    told = list(dict.fromkeys(o["reason"] for o in outcomes if o["status"] == status and o["reason"]))
    reason = "; ".join(told) or None
    if status == "failed" and len(outcomes) > 1:
        failed = statuses.count("failed")
        differ = f"the {len(outcomes)} {what} have different outcomes"
        reason = f"{failed} of {len(outcomes)} {what} failed: {reason}" if failed else differ
    times = [o["seconds"] for o in outcomes if o["seconds"] is not None]
    peaks = [o["peak_mib"] for o in outcomes if o["peak_mib"] is not None]
    means = {name: _mean([o[name] for o in outcomes]) for name in AVERAGED}
    took = {"seconds": round(sum(times), 3) if times else None, "peak_mib": max(peaks, default=None)}
    return {**first, **means, **took, "status": status, "reason": reason}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
