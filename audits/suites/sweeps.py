"""A run with a sweep, as one run for each value of the setting that is varied.

Nothing beyond this file knows what was varied: a point carries the setting's name and value, and a curve is drawn from
them alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...system.errors import UsageError
from ..digest import digest
from .suite import RunPlan

Axis = Literal["linear", "log", "ordinal"]

LOG_FROM = 16
"""Ratio of the largest value to the smallest from which an axis is logarithmic."""


@dataclass(frozen=True)
class Point:
    """One value of one sweep."""

    sweep: str
    """Digest of the run with its sweep: what its points have in common."""
    setting: str
    value: Any
    at: int
    """Its place among the sweep's values."""


def points(run: RunPlan) -> Iterator[tuple[RunPlan, Point]]:
    """The run with each value in turn."""
    [(setting, values)] = run.sweep.items()
    common = digest([run.model_dump(), list(run.defences)])
    for at, value in enumerate(values):
        yield varied(run.model_copy(update={"sweep": {}}), setting, value), Point(common, setting, value, at)


def varied(run: RunPlan, setting: str, value: Any) -> RunPlan:
    """The run with one setting changed, named as a suite names it."""
    table, _, rest = setting.partition(".")
    if table in ("data", "threat") and rest:
        return run.model_copy(update={table: {**getattr(run, table), rest: value}})
    if table == "attack":
        return _attacked(run, setting, value)
    if table == "defences":
        path = _path(setting, "defences.DEFENCE.SETTING")
        return run.model_copy(update={"defences": _with(run.defences, path, value)})
    return run.model_copy(update={"settings": _with(run.settings, setting.split("."), value)})


def _attacked(run: RunPlan, setting: str, value: Any) -> RunPlan:
    """A sweep of an attack's setting runs that attack alone: the others would not change."""
    name, *path = _path(setting, "attack.ATTACK.SETTING")
    before = run.vary.get(name, [{}])
    cells = [_with(settings, path, value) for settings in before]
    return run.model_copy(update={"attacks": [name], "vary": {name: cells}})


def _path(setting: str, form: str) -> list[str]:
    _, *path = setting.split(".")
    if len(path) < 2 or not all(path):
        raise UsageError(f"sweep {setting!r} names no setting; give {form}")
    return path


def _with(settings: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    inner = settings.get(first, {})
    return {**settings, first: _with(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value}


def axis(values: list[Any]) -> Axis:
    """How a curve's values are laid out: numbers by size, on a log scale where they span much; all else in order."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return "ordinal"
    low, high = min(values), max(values)
    return "log" if low > 0 and high / low >= LOG_FROM else "linear"
