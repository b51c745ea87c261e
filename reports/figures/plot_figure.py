"""Draws figures along a size: a line for each series, its name at its end, marks where something was measured.

Where it was measured several times, the line goes through the median.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor, log10
from statistics import median

from markupsafe import Markup

from ...benchmarks.finding import Plot
from .svg import drawing, line, text

WIDTH, HEIGHT = 620, 346
LEFT, RIGHT, TOP, BOTTOM = 58, 440, 14, 280
NAME = 15
"""From one series' name to the next."""
LETTERS = 26
"""Letters of a name that fit beside the lines."""
Along = Callable[[float], float]
Points = Sequence[tuple[float, float]]


def plotted(plot: Plot, identity: str) -> Markup | None:
    """The plot as an image; None where there is nothing to draw, or a point that the scale has no place for."""
    points = [point for one in plot.series.values() for point in one]
    if not points or (plot.logarithmic and min(min(point) for point in points) <= 0):
        return None
    across, across_ticks = _scale([x for x, _ in points], (LEFT, RIGHT), plot.logarithmic)
    up, up_ticks = _scale([y for _, y in points], (BOTTOM, TOP), plot.logarithmic)
    body = [*_grid(across, across_ticks, up, up_ticks), *_axes(plot), *_series(plot, across, up)]
    return drawing(identity, plot.title, _said(plot), (WIDTH, HEIGHT), body)


def _said(plot: Plot) -> str:
    lines = (f"{name}: {', '.join(f'{x:g}: {y:.3g}' for x, y in found)}" for name, found in plot.series.items())
    return f"{plot.y} along {plot.x}; {'; '.join(lines)}"


def _scale(values: Sequence[float], ends: tuple[float, float], logarithmic: bool) -> tuple[Along, list[float]]:
    """Where a value stands, and the values that are named: powers of ten, or five steps from 0."""
    if logarithmic:
        low, high = floor(log10(min(values))), ceil(log10(max(values)))
        high = max(high, low + 1)
        return (lambda value: _between((log10(value) - low) / (high - low), ends)), [
            10.0**p for p in range(low, high + 1)
        ]
    most = max(values) or 1.0
    return (lambda value: _between(value / most, ends)), [most * step / 4 for step in range(5)]


def _between(share: float, ends: tuple[float, float]) -> float:
    return round(ends[0] + (ends[1] - ends[0]) * share, 1)


def _grid(across: Along, xs: Sequence[float], up: Along, ys: Sequence[float]) -> Iterator[Markup]:
    for x in xs:
        yield line("grid", (across(x), TOP), (across(x), BOTTOM))
        yield text("tick", across(x), BOTTOM + 18, _named(x))
    for y in ys:
        yield line("grid", (LEFT, up(y)), (RIGHT, up(y)))
        yield text("tick side", LEFT - 8, up(y) + 4, _named(y))


def _named(value: float) -> str:
    if 1e-3 <= abs(value) < 1e5 or value == 0:
        return f"{value:,.6g}"
    return f"1e{round(log10(value))}" if log10(value).is_integer() else f"{value:.3g}"


def _axes(plot: Plot) -> Iterator[Markup]:
    yield text("axis", (LEFT + RIGHT) / 2, BOTTOM + 40, plot.x)
    yield text("goal", LEFT, BOTTOM + 58, f"upright: {plot.y}")


def _series(plot: Plot, across: Along, up: Along) -> Iterator[Markup]:
    """Names stand in the order of the lines' ends, apart from each other."""
    drawn = {name: [(across(x), up(y)) for x, y in sorted(found)] for name, found in plot.series.items() if found}
    at = float("-inf")
    for name, places in sorted(drawn.items(), key=lambda one: one[1][-1][1]):
        end = places[-1]
        at = max(end[1], at + NAME)
        yield from _joined(places)
        yield line("grid", end, (RIGHT + 8, at))
        yield text(
            "name",
            RIGHT + 12,
            at + 4,
            name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}",
        )


def _joined(places: Points) -> Iterator[Markup]:
    at_x: dict[float, list[float]] = {}
    for x, y in places:
        at_x.setdefault(x, []).append(y)
    path = " ".join(f"{'L' if at else 'M'}{x} {median(ys)}" for at, (x, ys) in enumerate(at_x.items()))
    yield Markup('<path class="line" d="{}"/>').format(path)
    for x, y in places:
        yield Markup('<circle class="mark" cx="{}" cy="{}" r="3"/>').format(x, y)
