"""Result rows made from the evidence: roles, controls, families of leak claims, and at last the verdicts.

Rows are written twice, because Holm's correction needs the whole family: first without verdicts, then with them. Only
p-values stay in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from ...attacks.attack import Goal
from ...system.defences import DEFENCES
from ..planning.layout import Control, Entry, Placed
from ..statistics import Advantage, holm, succeeded, verdict
from ..suites.arrange import Role
from .contests import contest
from .stating import KEPT, Cells, Stated

Row = dict[str, Any]

ONE_VICTIM = "conditional on this victim"
TABLE = "table"
"""Family of all leak claims that are no curve's."""

ROLES: tuple[Role, ...] = ("control", "row", "point")
"""In which the same attack on a control's group is looked for."""


class Tables:
    """Makes the rows of an audit from its cells."""

    def __init__(self, cells: Cells) -> None:
        self._cells, self._layout = cells, cells.layout
        self._by_code = {(e.group, e.code, e.role): at for at, e in enumerate(self._layout.entries)}
        self._contest = lru_cache(maxsize=KEPT)(partial(contest, cells))

    def rows(self) -> Iterator[Row]:
        """Every row without its verdict, in the order of the layout; `best` after the attacks that it chose among."""
        for at, entry in enumerate(self._layout.entries):
            yield from self._rows(entry, self._cells.stated(at), best=False)
            if entry.among:
                yield from self._rows(entry, self._contest(at), best=True)

    def _rows(self, entry: Entry, stated: tuple[Stated, ...], best: bool) -> Iterator[Row]:
        whole = stated[0].fields["cell"] if stated and stated[0].victim is None else None
        for one in stated:
            part_of = whole if one.victim is not None else None
            controls = {} if entry.role == "control" else dict(self._controls(entry, one.victim, best))
            for metric in one.metrics:
                yield {
                    "chosen": None,
                    "among": None,
                    **one.fields,
                    **metric,
                    "group": entry.group,
                    "role": "victim" if part_of else entry.role,
                    "scope": f"over {len(one.victims)} victims" if one.victim is None else ONE_VICTIM,
                    "victims": list(one.victims),
                    "cells": list(one.cells),
                    "part_of": part_of,
                    "attacker_seeds": len(next(iter(entry.cells.values()))),
                    "family": _family(entry, best) if _claimed(entry, metric, part_of) else None,
                    "controls": {name: found(metric["metric"]) for name, found in controls.items()},
                    "sweep": _sweep(entry, best),
                }

    def _controls(
        self, entry: Entry, victim: int | None, best: bool
    ) -> Iterator[tuple[str, Callable[[str | None], Row]]]:
        """By name, what the same attack reached on each control, for any metric."""
        for name, control in entry.controls.items():
            places = (self._by_code.get((control.group, entry.code, role)) for role in ROLES)
            at = next((place for place in places if place is not None), None)
            stated = () if at is None else self._contest(at) if best else self._cells.stated(at)
            found = next((one for one in stated if one.victim == victim and one.scored), None)
            yield name, partial(_control, control, found)


def _claimed(entry: Entry, metric: Mapping[str, Any], part_of: str | None) -> bool:
    """Whether a row claims a leak: a control claims none, and a victim's row is part of the claim over all."""
    return metric["judged"] and metric["p"] is not None and part_of is None and entry.role != "control"


def _family(entry: Entry, best: bool) -> str:
    return _curve(entry.place, best) if entry.place else TABLE


def _sweep(entry: Entry, best: bool) -> dict[str, Any] | None:
    place = entry.place
    if place is None:
        return None
    return {
        "curve": _curve(place, best),
        "label": place.label,
        "settings": dict(place.settings),
        "setting": place.setting,
        "value": place.value,
        "at": place.at,
    }


def _curve(place: Placed, best: bool) -> str:
    return f"{place.curve}-best" if best else place.curve


CONTROL_FIELDS = ("value", "low", "high", "advantage", "advantage_low", "advantage_high")


def _control(control: Control, found: Stated | None, metric: str | None) -> Row:
    """What the attack reached there on a metric; without a score nothing was shown to work."""
    there = None if found is None else next((m for m in found.metrics if m["metric"] == metric), None)
    if found is None or there is None:
        return {**dict.fromkeys((*CONTROL_FIELDS, "run")), "succeeded": False if control.must_succeed else None}
    gain = advantage_of(there)
    worked = gain is not None and succeeded(gain) if control.must_succeed else None
    return {**{name: there[name] for name in CONTROL_FIELDS}, "run": found.fields["run"], "succeeded": worked}


def advantage_of(row: Mapping[str, Any]) -> Advantage | None:
    """A stored row's advantage."""
    if row["p"] is None:
        return None
    return Advantage(row["advantage"], row["advantage_low"], row["advantage_high"], row["p"])


class Families:
    """The leak claims of each family, corrected together (Holm 1979)."""

    def __init__(self) -> None:
        self._p: dict[str, list[float]] = {}
        self._adjusted: dict[str, Iterator[float]] = {}

    def add(self, row: Row) -> None:
        """Note a claim's p-value."""
        if row["family"] is not None:
            self._p.setdefault(row["family"], []).append(row["p"])

    def close(self) -> None:
        """Correct every family; `judged` then takes the rows in the order in which they were noted."""
        self._adjusted = {family: iter(holm(p)) for family, p in self._p.items()}

    def judged(self, row: Row) -> Row:
        """The row with its verdict, None where it claims nothing.

        Of membership the rates and their ratio are stated, and no advantage, though the verdict rests on one.
        """
        gain = advantage_of(row)
        if row["family"] is None or gain is None:
            return {**row, "p_holm": None, "verdict": None}
        adjusted = next(self._adjusted[row["family"]])
        decided = controlled(row["controls"]) and not evaded(row["defence"])
        shown = {} if row["goal"] != Goal.MEMBERS else dict.fromkeys(("advantage", "advantage_low", "advantage_high"))
        return {**row, **shown, "p_holm": adjusted, "verdict": verdict(gain, adjusted, decided)}


def controlled(controls: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether there are controls that must succeed, and all did."""
    asked = [control["succeeded"] for control in controls.values() if control["succeeded"] is not None]
    return bool(asked) and all(asked)


def evaded(defences: Mapping[str, Any] | None) -> bool:
    """Whether a row stands behind a defence that an attacker who knows it gets around: then it does not resist."""
    return any(name in DEFENCES and DEFENCES[name].evaded for name in defences or ())
