"""Each attack's value with its interval beside its two twins, and a group's utility, on scales from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ..findings.remarks import judged_on
from ..findings.summary import Summary
from ..findings.wording import estimate, number, typeset
from ..stored.records import Estimate, Twin
from ..stored.rows import Row
from .svg import drawing, line, text, twin_mark, value_mark

WIDTH, X0, X1, VALUES = 1104, 330, 900, 926
TOP, LINE, NAME_LINE = 28, 30, 18
LONGEST_NAME = 44
"""Characters of an attack and its goal that fit before the scale."""
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Drawn:
    """A drawing of one group's attacks, with what could not be drawn on a scale from 0 to 1."""

    name: str
    svg: Markup
    outside: tuple[Row, ...]


def forest(summaries: Sequence[Summary]) -> tuple[Drawn, ...]:
    """One block for each group with scored attacks, all on the same scale."""
    return tuple(_block(number_, s) for number_, s in enumerate(summaries) if s.scored)


def _block(index: int, summary: Summary) -> Drawn:
    inside = [row for row in summary.scored if fits(row)]
    outside = tuple(row for row in summary.scored if not fits(row))
    drop = NAME_LINE if len(summary.name) > LONGEST_NAME else 0  # a long name has a line of its own above the scale
    height = TOP + drop + LINE * len(inside)
    said = "; ".join(_said(summary, row) for row in inside)
    body = [text("run", 0, 15, summary.name), *_grid(height, drop)]
    body += [_row(summary.named(row), row, TOP + drop + LINE * i) for i, row in enumerate(inside)]
    return Drawn(
        summary.name, drawing(f"forest-{index}", f"Attacks on {summary.name}", said, (WIDTH, height), body), outside
    )


def fits(of: Estimate) -> bool:
    """Whether a value can be drawn on a scale from 0 to 1."""
    return of.value is not None and 0 <= of.value <= 1


def _said(summary: Summary, row: Row) -> str:
    twins = f"outsider {estimate(row.blind_outsider)}, rest {estimate(row.blind_rest)}"
    return f"{summary.named(row)} on {judged_on(row)}: {estimate(row)}, {twins}, {row.verdict or 'no verdict'}"


def _x(value: float) -> float:
    return round(X0 + (X1 - X0) * min(max(value, 0.0), 1.0), 1)


def _grid(height: float, drop: float = 0) -> Iterator[Markup]:
    for tick in TICKS:
        yield line("grid", (_x(tick), 22 + drop), (_x(tick), round(height)))
        yield text("tick", _x(tick), 15 + drop, f"{tick:g}")


def _row(name: str, row: Row, top: float) -> Markup:
    centre, below = top + 9, top + 20
    parts = [
        text("name best" if row.is_best else "name", 12, top + 14, _label(name, judged_on(row))),
        text("value", VALUES, top + 14, typeset(estimate(row))),
        *_twin(row.blind_rest, below, "rest"),
        *_twin(row.blind_outsider, below, "outsider"),
        *_main(row, centre),
    ]
    return Markup("<g>{}</g>").format(Markup("").join(parts))


def _label(name: str, goal: str) -> Markup:
    longest = LONGEST_NAME - len(goal)
    shown = name if len(name) <= longest else name[: longest - 1] + "…"
    return escape(shown) + Markup(' <tspan class="goal">{}</tspan>').format(goal)


def _span(of: Estimate, y: float, style: str) -> Iterator[Markup]:
    if of.low is not None and of.high is not None:
        yield line(style, (_x(of.low), y), (_x(of.high), y))


def _main(row: Row, y: float) -> Iterator[Markup]:
    style = row.verdict or "unjudged"
    yield from _span(row, y, f"span {style}")
    yield value_mark(_x(row.value or 0.0), y, style)


def _twin(twin: Twin | None, y: float, style: str) -> Iterator[Markup]:
    if twin is None or twin.value is None:
        return
    yield from _span(twin, y, f"span {style}")
    yield twin_mark(_x(twin.value), y, style)


def utility(summary: Summary, index: int) -> Markup | None:
    """A group's utility with its interval, its floor and the majority class on one line."""
    found, floor = summary.group.utility, summary.group.floor
    if found is None or found.value is None:
        return None
    y = 34.0
    marks = {"majority": summary.majority, "floor": floor.value if floor else None}
    values = {name: value for name, value in marks.items() if value is not None}
    body = [
        text("name", 12, 39, summary.measured),
        *_grid(48),
        *_span(found, y, "span utility"),
        value_mark(_x(found.value), y, "utility"),
        *(part for name, value in values.items() for part in _tick(name, value, y)),
        text("value", VALUES, 39, typeset(estimate(found))),
    ]
    said = "; ".join([estimate(found), *(f"{name} {number(value)}" for name, value in values.items())])
    return drawing(f"utility-{index}", f"Utility of {summary.name}", said, (WIDTH, 62), body)


def _tick(name: str, value: float, y: float) -> Iterator[Markup]:
    yield line(name, (_x(value), y - 9), (_x(value), y + 9))
    yield text("tick", _x(value), y + 24, name)
