"""Puts the rows of an audit in order: a summary of each group of runs, and what no summary shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..stored.records import Group
from ..stored.results import Audit
from ..stored.rows import Row
from .elsewhere import audited_elsewhere
from .summary import Found, Summary
from .wording import attack


def summarise(audit: Audit) -> tuple[Summary, ...]:
    """A summary of each group that has rows of its own, in the audit's order."""
    return tuple(_summary(audit, group) for group in audit.groups if group.role == "row")


def beside(audit: Audit) -> tuple[Row, ...]:
    """Failed controls and points that no table and no curve shows."""
    shown = {row.cell for row in audit.rows if row.role == "row"}
    drawn = {curve.curve for curve in audit.curves}
    failed = (row for row in audit.rows if row.status == "failed" and row.cell not in shown)
    return tuple(row for row in failed if row.role == "control" or (row.role == "point" and _curve(row) not in drawn))


def _curve(row: Row) -> str | None:
    return None if row.sweep is None else row.sweep.curve


def _summary(audit: Audit, group: Group) -> Summary:
    rows = [row for row in audit.rows if row.group == group.group]
    standing = {row.cell for row in rows if row.role == "row"}
    # a victim's row whose row over victims is absent stands by itself: nothing that was found gets lost
    cells = _by_cell(r for r in rows if r.role == "row" or (r.role == "victim" and r.part_of not in standing))
    parts = _by_cell((r for r in rows if r.role == "victim" and r.part_of in standing), lambda row: row.part_of or "")
    runs = tuple(audit.runs[key] for key in group.runs)
    judged = [row for metrics in cells.values() for row in _judged(metrics)]
    goals = list(dict.fromkeys(row.goal for row in judged))
    return Summary(
        elsewhere=audited_elsewhere(audit, group),
        group=group,
        runs=runs,
        scored=tuple(sorted(judged, key=lambda row: (goals.index(row.goal), not row.is_best))),
        other=tuple(row for metrics in cells.values() for row in _others(metrics)),
        failed=(*_with_status(cells, "failed"), *_failed_parts(parts, cells)),
        not_exposed=_once(_with_status(cells, "not_exposed")),
        not_applicable=_once(_with_status(cells, "not_applicable")),
        consumed=frozenset(kind for row in judged for kind in row.consumes),
        parts=parts,
        found=tuple(_found(audit, judged)),
    )


def _by_cell(rows: Iterable[Row], cell: Callable[[Row], str] = lambda row: row.cell) -> dict[str, tuple[Row, ...]]:
    cells: dict[str, tuple[Row, ...]] = {}
    for row in rows:
        cells[cell(row)] = (*cells.get(cell(row), ()), row)
    return cells


def _judged(metrics: tuple[Row, ...]) -> tuple[Row, ...]:
    if metrics[0].status != "scored":
        return ()
    # an attack without a judged metric still shows: its first one stands for it
    return tuple(row for row in metrics if row.primary or row.judged) or metrics[:1]


def _others(metrics: tuple[Row, ...]) -> Iterator[Row]:
    judged = _judged(metrics)
    return (row for row in metrics if row.status == "scored" and not any(row is one for one in judged))


def _with_status(cells: Mapping[str, tuple[Row, ...]], status: str) -> tuple[Row, ...]:
    return tuple(metrics[0] for metrics in cells.values() if metrics[0].status == status)


def _once(rows: Iterable[Row]) -> tuple[Row, ...]:
    """What every victim has in common is said once."""
    return tuple({(attack(row), row.goal, row.reason): row for row in rows}.values())


def _failed_parts(parts: Mapping[str, tuple[Row, ...]], cells: Mapping[str, tuple[Row, ...]]) -> Iterator[Row]:
    """Victims on whom an attack failed that was scored on others; where it failed on all, its own row says so."""
    for cell, rows in parts.items():
        if cells[cell][0].status != "failed":
            yield from (row for row in rows if row.status == "failed")


def _found(audit: Audit, judged: Iterable[Row]) -> Iterator[Found]:
    for row in judged:
        stored = row.cells or (row.cell,)
        if row.primary and not row.is_best and (cell := next((c for c in stored if c in audit.examples), None)):
            yield Found(row, audit.examples[cell])
