"""Longer texts out of short ones: several rows of one label and side, end to end."""

from __future__ import annotations

from collections.abc import Sequence

from .rows import Row, Span


def joined(rows: Sequence[Row], count: int) -> list[Row]:
    """So many rows make one, in their order, where label and pool agree; what is left over is left out.

    A row of several groups is in none: rows that are said alike may then be dealt to different parts of one side.
    """
    waiting: dict[tuple[str, str], list[Row]] = {}
    found = []
    for row in rows:
        alike = waiting.setdefault((row.label, row.pool), [])
        alike.append(row)
        if len(alike) == count:
            found.append(_one(alike))
            alike.clear()
    return found


def _one(rows: Sequence[Row]) -> Row:
    text, spans = "", list[Span]()
    for row in rows:
        start = len(text) + 1 if text else 0
        text = f"{text} {row.text}" if text else row.text
        spans += [Span(span.start + start, span.end + start, span.kind) for span in row.spans]
    groups = {row.group for row in rows}
    return Row(text, rows[0].label, tuple(spans), rows[0].pool, groups.pop() if len(groups) == 1 else "")
