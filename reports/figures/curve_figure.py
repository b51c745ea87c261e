"""Draws one curve: an attack's value along a setting beside its stronger twin, with the utility as a thin line.

The drawing knows no setting: it has values, their names and where they stand. Scores run from 0 at BOTTOM to 1 at TOP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from ..findings.axis import Axis, Tick
from ..findings.curves import at, axis_of, named, notes, scored, series, stronger
from ..findings.wording import estimate, number, setting
from ..stored.rows import Curve, Point
from .figure import TICKS, fits
from .svg import drawing, line, text, twin_mark, value_mark

WIDTH = 400
LEFT, RIGHT, TOP, BOTTOM = 32, 394, 8, 190
LINE = 15
"""From one line of text under the axis to the next."""
LETTERS = 58
"""Letters of a value's name that fit along the axis."""
STEP = 9
"""Between the marks of two victims at one value."""
RADIUS, RADIUS_APART = 4.5, 3
"""Of the marks, and of those of victims that stand apart."""
REACH = 7
"""Half the width of a floor's mark."""

Placed = tuple[float, Point]
"""A point with its x."""


def drawn(curve: Curve, identity: str) -> Markup | None:
    """The curve as an image; None where nothing was scored or a score does not fit a scale from 0 to 1."""
    points = scored(curve)
    if not points or not all(map(fits, points)):
        return None
    axis = axis_of(curve)
    ticks = axis.ticks(LETTERS)
    below = BOTTOM + LINE * (max(tick.line for tick in ticks) + 2) + 4
    body = [*_grid(), *_names(ticks), text("axis", (LEFT + RIGHT) / 2, below, _varied(curve))]
    return drawing(identity, named(curve), _said(curve), (WIDTH, below + 6), [*body, *_all_series(curve, axis)])


def _said(curve: Curve) -> str:
    points = "; ".join(f"{at(curve, point)}: {_point_said(point)}" for point in scored(curve))
    return "; ".join([f"{curve.setting} {points}", *(note.text for note in notes(curve))])


def _point_said(point: Point) -> str:
    twin = stronger(point)
    blind = f", blind {estimate(twin[0])}" if twin else ""
    use = f", utility {number(point.utility.value)}" if point.utility else ""
    return f"{estimate(point)}{blind}, {point.verdict or 'no verdict'}{use}"


def _y(value: float) -> float:
    return round(BOTTOM + (TOP - BOTTOM) * min(max(value, 0.0), 1.0), 1)


def _x(place: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * place, 1)


def _grid() -> Iterator[Markup]:
    for tick in TICKS:
        yield line("grid", (LEFT, _y(tick)), (RIGHT, _y(tick)))
        yield text("tick side", LEFT - 6, _y(tick) + 4, f"{tick:g}")


def _names(ticks: Sequence[Tick]) -> Iterator[Markup]:
    for tick in ticks:
        yield line("grid", (_x(tick.at), BOTTOM), (_x(tick.at), BOTTOM + 4))
        if tick.name:
            yield text("tick", _x(tick.middle), BOTTOM + LINE * (tick.line + 1) + 2, tick.name)


def _varied(curve: Curve) -> str:
    return f"{curve.setting}, log scale" if curve.axis == "log" else curve.setting


def _all_series(curve: Curve, axis: Axis) -> Iterator[Markup]:
    every = series(curve)
    runs = [_placed(points, axis, STEP * (place - (len(every) - 1) / 2)) for place, points in enumerate(every)]
    for use in _uses(curve, every, axis):
        yield from _utility(use)
    for run in runs:
        for unbroken in _unbroken(run, list(axis.places)):
            yield from _joined(unbroken, " apart" if len(every) > 1 else "")
        for x, point in run:
            yield from _marks(x, point, RADIUS_APART if len(every) > 1 else RADIUS)


def _placed(points: Sequence[Point], axis: Axis, shift: float) -> list[Placed]:
    return [(round(_x(axis.at(point.x)) + shift, 1), point) for point in points]


def _uses(curve: Curve, every: Sequence[Sequence[Point]], axis: Axis) -> list[list[Placed]]:
    """The utility at every value, with or without a score: each victim's own, or once where all have the same."""
    uses = {(setting(point.x), point.utility and point.utility.value) for point in curve.points}
    if len(every) > 1 and len(uses) > len(axis.places):
        return [_placed(points, axis, 0.0) for points in every]
    first = {setting(point.x): point for point in reversed(curve.points)}
    return [_placed([first[name] for name in axis.places], axis, 0.0)]


def _unbroken(run: Sequence[Placed], order: Sequence[str]) -> Iterator[list[Placed]]:
    """Stretches without a value between that has no score: a line there would say what nobody measured."""
    part: list[Placed] = []
    for x, point in run:
        if part and order.index(setting(point.x)) - order.index(setting(part[-1][1].x)) > 1:
            yield part
            part = []
        part.append((x, point))
    yield part


def _joined(run: Sequence[Placed], style: str) -> Iterator[Markup]:
    """The lines through the twins and the values of neighbouring points."""
    twins = [(x, found[0].value or 0.0) for x, point in run if (found := stronger(point))]
    yield _path(f"line blind{style}", twins)
    yield _path(f"line{style}", [(x, point.value or 0.0) for x, point in run])


def _utility(run: Sequence[Placed]) -> Iterator[Markup]:
    found = [(x, point.utility.value) for x, point in run if point.utility is not None]
    yield _path("line use", [(x, value) for x, value in found if value is not None])
    for x, point in run:
        if point.floor is not None:
            style = "curve-floor" if point.floor.reached else "curve-floor missed"
            yield line(style, (x - REACH, _y(point.floor.value)), (x + REACH, _y(point.floor.value)))


def _path(style: str, corners: Sequence[tuple[float, float]]) -> Markup:
    way = "L".join(f"{x} {_y(value)}" for x, value in corners)
    return Markup('<path class="{}" d="M{}"/>').format(style, way) if len(corners) > 1 else Markup("")


def _marks(x: float, point: Point, radius: float) -> Iterator[Markup]:
    """A point's twin and its value with the interval, in the colour and shape of its verdict."""
    if twin := stronger(point):
        yield twin_mark(x, _y(twin[0].value or 0.0), twin[1], radius)
    style = point.verdict or "unjudged"
    if point.low is not None and point.high is not None:
        yield line(f"span {style}", (x, _y(point.low)), (x, _y(point.high)))
    yield value_mark(x, _y(point.value or 0.0), style, radius)
