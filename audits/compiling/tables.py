"""Result rows made from the evidence: roles, controls, families of leak claims, and at last the verdicts.

Rows are written twice, because Holm's correction needs the whole family: first without verdicts, then with them. Only
p-values stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..planning.layout import Entry, Layout
from ..statistics import Advantage, holm, succeeded, verdict
from .evidence import Evidence, Stated

Row = dict[str, Any]

ONE_VICTIM = "conditional on this victim"
TABLE = "table"
"""Family of all leak claims that are no curve's."""

REASSIGNED = "reassigned"
"""The control that tells inference from disclosure; no success is asked of it."""


def rows(layout: Layout, evidence: Evidence) -> Iterator[Row]:
    """Every row without its verdict, in the order of the layout; `best` after the attacks that it chose among."""
    for at, entry in enumerate(layout.entries):
        stated = evidence.stated(at)
        yield from _rows(layout, evidence, entry, stated, "")
        if entry.among:
            yield from _rows(layout, evidence, entry, evidence.contest(at), "best")


def _rows(layout: Layout, evidence: Evidence, entry: Entry, stated: tuple[Stated, ...], best: str) -> Iterator[Row]:
    whole = stated[0].fields["cell"] if stated and stated[0].victim is None else None
    for one in stated:
        part_of = whole if one.victim is not None else None
        controls = {} if entry.role == "control" else dict(_controls(layout, evidence, entry, one.victim, best))
        for metric in one.metrics:
            yield {
                "chosen": None,
                "among": None,
                **one.fields,
                **metric,
                "group": entry.group,
                "role": "victim" if part_of else entry.role,
                "best": bool(best),
                "scope": f"over {len(one.victims)} victims" if one.victim is None else ONE_VICTIM,
                "victims": list(one.victims),
                "cells": list(one.cells),
                "part_of": part_of,
                "attacker_seeds": len(next(iter(entry.cells.values()))),
                "family": _family(entry, best) if _claimed(entry, metric, part_of) else None,
                "controls": {name: found.get(metric["metric"], _BROKEN) for name, found in controls.items()},
                "sweep": _sweep(entry, best),
            }


def _claimed(entry: Entry, metric: Mapping[str, Any], part_of: str | None) -> bool:
    """Whether a row claims a leak: a control claims none, and a victim's row is part of the claim over all."""
    return metric["judged"] and metric["p"] is not None and part_of is None and entry.role != "control"


def _family(entry: Entry, best: str) -> str:
    return entry.place.curve + best if entry.place else TABLE


def _sweep(entry: Entry, best: str) -> dict[str, Any] | None:
    place = entry.place
    if place is None:
        return None
    return {"curve": place.curve + best, "setting": place.setting, "value": place.value, "at": place.at}


_BROKEN: Mapping[str, Any] = dict.fromkeys(
    ("value", "low", "high", "advantage", "advantage_low", "advantage_high", "run")
) | {"succeeded": False}
"""A control without a score: nothing was shown to work."""


def _controls(
    layout: Layout, evidence: Evidence, entry: Entry, victim: int | None, best: str
) -> Iterator[tuple[str, dict[str, Row]]]:
    """By name, what the same attack reached on each control, by metric."""
    for name, group in entry.controls.items():
        at = evidence.control(entry, group)
        stated: tuple[Stated, ...] = ()
        if at is not None:
            stated = evidence.contest(at) if best else evidence.stated(at)
        found = next((one for one in stated if one.victim == victim and one.scored), None)
        yield name, {} if found is None else {m["metric"]: _control(name, found, m) for m in found.metrics}


def _control(name: str, found: Stated, metric: Mapping[str, Any]) -> Row:
    gain = advantage_of(metric)
    worked = None if name == REASSIGNED else gain is not None and succeeded(gain)
    kept = ("value", "low", "high", "advantage", "advantage_low", "advantage_high")
    return {**{field: metric[field] for field in kept}, "run": found.fields["run"], "succeeded": worked}


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
        """The row with its verdict, None where it claims nothing."""
        gain = advantage_of(row)
        if row["family"] is None or gain is None:
            return {**row, "p_holm": None, "verdict": None}
        adjusted = next(self._adjusted[row["family"]])
        return {**row, "p_holm": adjusted, "verdict": verdict(gain, adjusted, controlled(row["controls"]))}


def controlled(controls: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether there are controls that must succeed, and all did."""
    asked = [control["succeeded"] for control in controls.values() if control["succeeded"] is not None]
    return bool(asked) and all(asked)
