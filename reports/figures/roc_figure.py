"""Draws attacks on membership: true positives against false positives, both along a logarithm.

What matters of such an attack is at its left: who is found where hardly anybody is accused wrongly. The diagonal is
guessing. Each curve carries its number where it is best told from the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log10

from markupsafe import Markup

from ..findings.summary import Summary
from ..findings.wording import number, words
from ..stored.rows import Row
from .svg import drawing, line, text

WIDTH, HEIGHT = 440, 330
LEFT, RIGHT, TOP, BOTTOM = 56, 424, 10, 280
DECADES = 4
"""Of rates: from 0.0001 to 1; a rate below the first stands at it."""
SHOWN = (0.001, 0.01, 0.1)
"""Rates of false positives that the description tells of."""


def roc(summary: Summary, index: int) -> Markup | None:
    """The curves of a group's attacks on membership; None where there is none."""
    rows = drawn_rows(summary)
    if not rows:
        return None
    said = "; ".join(f"{at} {summary.named(row)}: {_said(row)}" for at, row in enumerate(rows, 1))
    curves = (part for at, row in enumerate(rows) for part in _curve(at, len(rows), row))
    body = [*_grid(), line("line blind", (_x(10**-DECADES), _y(10**-DECADES)), (_x(1), _y(1))), *curves]
    return drawing(f"roc-{index}", f"Members of {summary.name} found", said, (WIDTH, HEIGHT), body)


def drawn_rows(summary: Summary) -> tuple[Row, ...]:
    """The rows that have a curve, in the order of their numbers."""
    return tuple(row for row in summary.scored if row.roc is not None and row.primary)


def _said(row: Row) -> str:
    assert row.roc is not None
    found = list(zip(row.roc.fpr, row.roc.tpr, strict=True))
    told = ((rate, [true for false, true in found if false <= rate]) for rate in SHOWN)
    return ", ".join(f"{number(max(true))} at {rate:g}" for rate, true in told if true)


def _x(rate: float) -> float:
    return round(RIGHT + (RIGHT - LEFT) * max(log10(max(rate, 1e-12)), -DECADES) / DECADES, 1)


def _y(rate: float) -> float:
    return round(TOP - (BOTTOM - TOP) * max(log10(max(rate, 1e-12)), -DECADES) / DECADES, 1)


def _grid() -> Iterator[Markup]:
    for power in range(-DECADES, 1):
        rate = 10.0**power
        yield line("grid", (LEFT, _y(rate)), (RIGHT, _y(rate)))
        yield line("grid", (_x(rate), TOP), (_x(rate), BOTTOM))
        yield text("tick side", LEFT - 6, _y(rate) + 4, f"{rate:g}")
        yield text("tick", _x(rate), BOTTOM + 16, f"{rate:g}")
    yield text("axis", (LEFT + RIGHT) / 2, BOTTOM + 36, "others taken for members, log scale")


def _curve(at: int, count: int, row: Row) -> Iterator[Markup]:
    assert row.roc is not None
    corners = [(_x(false), _y(true)) for false, true in zip(row.roc.fpr, row.roc.tpr, strict=True)]
    way = "L".join(f"{x} {y}" for x, y in corners)
    yield Markup('<path class="line" d="M{}"/>').format(way)
    x, y = corners[_place(at, count, corners)]
    yield Markup('<circle class="mark numbered" cx="{}" cy="{}" r="8"/>').format(x, y)
    yield text("tick", x, y + 4, str(at + 1))


def _place(at: int, count: int, corners: Sequence[tuple[float, float]]) -> int:
    """Numbers stand one after another along the axis, so that curves on top of each other keep theirs apart."""
    return round((at + 0.5) / count * 0.6 * (len(corners) - 1))


def legend(summary: Summary) -> str:
    """The numbers with their attacks."""
    return ", ".join(f"{at} {summary.named(row)}" for at, row in enumerate(drawn_rows(summary), 1))


def axis_said(summary: Summary) -> str:
    """What the curves rest on."""
    [first, *_] = drawn_rows(summary)
    assert first.roc is not None
    return f"{first.roc.members:,} {words(first.goal)} among {first.roc.non_members:,} others"
