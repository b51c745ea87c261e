"""An audit as large as one likes, made of a real one's rows and curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from ...system.errors import UsageError
from ..stored.results import Audit
from ..stored.rows import Row


def repeated(audit: Audit, cells: int) -> Audit:
    """The audit's table repeated under other names until it has so many cells, and all curves as often.

    The parts of a row over victims stand under its copy and are not counted.
    """
    if not any(row.role == "row" for row in audit.rows):
        raise UsageError("the audit has no row in its table, so that none can be repeated; give another audit")
    rounds = list(_rounds(audit, cells))
    return replace(
        audit,
        groups=tuple(group for one in rounds for group in one.groups),
        rows=tuple(row for one in rounds for row in one.rows),
        curves=tuple(curve for one in rounds for curve in one.curves),
    )


def _rounds(audit: Audit, cells: int) -> Iterator[Audit]:
    every = list(dict.fromkeys(row.cell for row in audit.rows if row.role == "row"))
    for number in count():
        if (left := cells - number * len(every)) <= 0:
            return
        yield _copy(audit, set(every[:left]), f"#{number}")


def _copy(audit: Audit, cells: set[str], mark: str) -> Audit:
    """Of the table, so many cells with their groups; of the curves all; everything under other names."""
    rows = [row for row in audit.rows if (row.role == "row" and row.cell in cells) or row.part_of in cells]
    held = {row.group for row in rows}
    return replace(
        audit,
        groups=tuple(
            group.model_copy(update={"group": f"{group.group} {mark}", "label": f"{group.label} {mark}"})
            for group in audit.groups
            if group.group in held
        ),
        rows=tuple(_renamed(row, mark) for row in rows),
        curves=tuple(
            curve.model_copy(update={"curve": f"{curve.curve} {mark}", "label": f"{curve.label} {mark}"})
            for curve in audit.curves
        ),
    )


def _renamed(row: Row, mark: str) -> Row:
    named = {"cell": f"{row.cell} {mark}", "group": f"{row.group} {mark}", "label": f"{row.label} {mark}"}
    return row.model_copy(update={**named, "part_of": row.part_of and f"{row.part_of} {mark}"})
