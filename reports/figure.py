"""Drawings as inline SVG: each attack's value with its interval beside its two twins, and a run's utility.

Coordinates are user units; scores run from 0 to 1 between X0 and X1. Colours come from the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from .records import Estimate, Row, Run
from .summary import Summary
from .wording import attack, estimate, number, typeset, words

WIDTH, X0, X1, VALUES = 1104, 330, 900, 926
TOP, LINE = 28, 30
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Drawn:
    """A drawing of one run's attacks, with what could not be drawn on a scale from 0 to 1."""

    name: str
    svg: Markup
    outside: tuple[Row, ...]


def forest(summaries: Sequence[Summary]) -> tuple[Drawn, ...]:
    """One block for each run with scored attacks, all on the same scale."""
    return tuple(_block(number_, s) for number_, s in enumerate(summaries) if s.scored)


def _block(index: int, summary: Summary) -> Drawn:
    inside = [row for row in summary.scored if _fits(row)]
    outside = tuple(row for row in summary.scored if not _fits(row))
    height = TOP + LINE * len(inside)
    body = Markup("").join([_grid(height), *(_row(row, TOP + LINE * i) for i, row in enumerate(inside))])
    said = "; ".join(map(_said, inside))
    head = Markup('<text class="run" x="0" y="15">{}</text>').format(summary.name)
    drawing = _svg(f"forest-{index}", f"Attacks on {summary.name}", said, height, head + body)
    return Drawn(summary.name, drawing, outside)


def _fits(row: Row) -> bool:
    return row.value is not None and 0 <= row.value <= 1


def _said(row: Row) -> str:
    twins = f"outsider {estimate(row.blind_outsider)}, rest {estimate(row.blind_rest)}"
    return f"{attack(row)} on {words(row.goal)}: {estimate(row)}, {twins}, {row.verdict or 'no verdict'}"


def _svg(identity: str, title: str, said: str, height: float, body: Markup) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-labelledby="{i}-t {i}-d"><title id="{i}-t">{t}</title>'
        '<desc id="{i}-d">{d}</desc>{b}</svg>'
    ).format(w=WIDTH, h=round(height), i=identity, t=title, d=said, b=body)


def _x(value: float) -> float:
    return round(X0 + (X1 - X0) * min(max(value, 0.0), 1.0), 1)


def _grid(height: float) -> Markup:
    lines = (
        Markup('<line class="grid" x1="{x}" x2="{x}" y1="22" y2="{h}"/><text class="tick" x="{x}" y="15">{t:g}</text>')
        .format(x=_x(tick), h=round(height), t=tick)
        for tick in TICKS
    )  # fmt: skip
    return Markup("").join(lines)


def _row(row: Row, top: float) -> Markup:
    centre, below = top + 9, top + 20
    parts = [
        Markup('<text class="name" x="12" y="{}">{}</text>').format(top + 14, _label(row)),
        Markup('<text class="value" x="{}" y="{}">{}</text>').format(VALUES, top + 14, typeset(estimate(row))),
        *_twin(row.blind_rest, below, "rest"),
        *_twin(row.blind_outsider, below, "outsider"),
        *_main(row, centre),
    ]
    return Markup("<g>{}</g>").format(Markup("").join(parts))


def _label(row: Row) -> Markup:
    shown = attack(row)
    shown = shown if len(shown) <= 30 else shown[:29] + "…"
    return escape(shown) + Markup(' <tspan class="goal">{}</tspan>').format(words(row.goal))


def _span(of: Estimate, y: float, style: str) -> Iterator[Markup]:
    if of.low is not None and of.high is not None:
        yield Markup('<line class="{}" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(style, _x(of.low), _x(of.high), y=y)


def _main(row: Row, y: float) -> Iterator[Markup]:
    style = row.verdict or "unjudged"
    yield from _span(row, y, f"span {style}")
    yield value_mark(_x(row.value or 0.0), y, style)


def value_mark(x: float, y: float, style: str) -> Markup:
    """An attack's own value: a square where it resists, otherwise a circle, which the page fills where it leaks."""
    if style == "resists":
        return Markup('<rect class="mark resists" x="{}" y="{}" width="9" height="9"/>').format(x - 4.5, y - 4.5)
    return Markup('<circle class="mark {}" cx="{}" cy="{}" r="5"/>').format(style, x, y)


def _twin(twin: Estimate | None, y: float, style: str) -> Iterator[Markup]:
    if twin is None or twin.value is None:
        return
    yield from _span(twin, y, f"span {style}")
    yield twin_mark(_x(twin.value), y, style)


def twin_mark(x: float, y: float, style: str) -> Markup:
    """A diamond for the outsider, a cross for the rest of the view."""
    shape = "M0 -5L5 0L0 5L-5 0Z" if style == "outsider" else "M-4 -4L4 4M-4 4L4 -4"
    return Markup('<path class="mark {}" transform="translate({} {})" d="{}"/>').format(style, x, y, shape)


def utility(run: Run, index: int) -> Markup | None:
    """A run's utility with its interval, its floor and the majority class on one line."""
    if run.utility is None or run.utility.value is None:
        return None
    y = 34.0
    marks = {"majority": run.majority, "floor": run.floor}
    values = {name: mark.value for name, mark in marks.items() if mark is not None and mark.value is not None}
    parts = [
        Markup('<text class="name" x="12" y="39">{}</text>').format(words(run.utility.metric)),
        _grid(48),
        *_span(run.utility, y, "span utility"),
        value_mark(_x(run.utility.value), y, "utility"),
        *(_tick(name, value, y) for name, value in values.items()),
        Markup('<text class="value" x="{}" y="39">{}</text>').format(VALUES, estimate(run.utility)),
    ]
    said = "; ".join([estimate(run.utility), *(f"{name} {number(value)}" for name, value in values.items())])
    return _svg(f"utility-{index}", f"Utility of {run.label}", said, 62, Markup("").join(parts))


def _tick(name: str, value: float, y: float) -> Markup:
    return Markup(
        '<line class="{n}" x1="{x}" x2="{x}" y1="{a}" y2="{b}"/><text class="tick" x="{x}" y="{t}">{n}</text>'
    ).format(n=name, x=_x(value), a=y - 9, b=y + 9, t=y + 24)
