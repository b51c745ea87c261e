"""Where the values of a setting stand on an axis, and which of them have room for their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from .wording import setting

MARGIN = 0.05
"""Share of an axis that stays free beyond its first and its last value."""


@dataclass(frozen=True)
class Tick:
    """A value's mark and its name under the axis, which is empty where there is no room; `line` counts from 0."""

    at: float
    name: str
    middle: float
    """Of the name, which stays within the axis."""
    line: int


@dataclass(frozen=True)
class Axis:
    """The distinct values of a setting by their names, each at a place between 0 and 1, from left to right."""

    places: Mapping[str, float]

    def at(self, value: Any) -> float:
        return self.places[setting(value)]

    def ticks(self, letters: float, lines: int = 3) -> tuple[Tick, ...]:
        """Names on up to `lines` lines where they do not touch; `letters` is how many fit along the whole axis."""
        ends = [float("-inf")] * lines
        longest = int(2 * letters / max(len(self.places), 4))
        ticks = []
        for name, at in self.places.items():
            shown = name if len(name) <= longest else name[: longest - 1] + "…"
            half = (len(shown) + 2) / letters / 2
            middle = min(max(at, half), 1 - half)
            line = next((i for i, end in enumerate(ends) if middle - half >= end), None)
            if line is not None:
                ends[line] = middle + half
            ticks.append(Tick(at, "" if line is None else shown, middle, line or 0))
        return tuple(ticks)


def axis(values: Sequence[Any], kind: str) -> Axis:
    """An axis of a stored kind; values that such an axis cannot hold are laid out in their order."""
    distinct = {setting(value): value for value in values}
    scaled = [_scaled(value, kind) for value in distinct.values()]
    numbers = [value for value in scaled if value is not None]
    if kind == "ordinal" or len(numbers) < len(scaled):
        return Axis({name: (at + 0.5) / len(distinct) for at, name in enumerate(distinct)})
    low, high = min(numbers, default=0.0), max(numbers, default=0.0)
    places = {name: _between(value, low, high) for name, value in zip(distinct, numbers, strict=True)}
    return Axis(dict(sorted(places.items(), key=lambda place: place[1])))


def _scaled(value: Any, kind: str) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or (kind == "log" and value <= 0):
        return None
    return log(value) if kind == "log" else float(value)


def _between(value: float, low: float, high: float) -> float:
    return 0.5 if low == high else MARGIN + (1 - 2 * MARGIN) * (value - low) / (high - low)
