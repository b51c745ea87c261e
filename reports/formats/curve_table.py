"""The curves in a terminal: a line for each value of what is varied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..findings.curves import at, named, stronger, varied
from ..findings.wording import estimate, number, words
from ..stored.results import Audit
from ..stored.rows import Curve, Point

HEADINGS = ("", "value", "blind", "verdict", "utility")


def curve_tables(audit: Audit, styles: Mapping[str, str], digits: int) -> Iterator[RenderableType]:
    """Under a line for each setting that was varied, the judged curves."""
    for one in varied(audit):
        yield Text(f"\n{one.name}", style="bold")
        for curve in one.judged:
            yield Padding(Text(named(curve)), (0, 0, 0, 2), expand=False)
            yield Padding(_table(curve, styles, digits), (0, 0, 0, 4), expand=False)


def _table(curve: Curve, styles: Mapping[str, str], digits: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in HEADINGS:
        table.add_column(name)
    for point in curve.points:
        table.add_row(*_cells(curve, point, styles, digits))
    return table


def _cells(curve: Curve, point: Point, styles: Mapping[str, str], digits: int) -> Iterator[Text]:
    twin = stronger(point)
    outcome = words(point.verdict or ("no verdict" if point.status == "scored" else point.status))
    yield Text(at(curve, point))
    yield Text(estimate(point, digits) if point.status == "scored" else point.reason or "no reason was stored")
    yield Text(number(twin[0].value if twin else None, digits))
    yield Text(outcome, style=styles.get(outcome, ""))
    yield Text(_utility(point, digits))


def _utility(point: Point, digits: int) -> str:
    shown = number(point.utility.value if point.utility else None, digits)
    return f"{shown}, below its floor" if point.floor is not None and not point.floor.reached else shown
