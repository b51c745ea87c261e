"""An audit as large as one likes, made of a real one's rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from ...system.errors import UsageError
from ..stored.records import Group
from ..stored.results import Audit
from ..stored.rows import Row


def repeated(audit: Audit, cells: int) -> Audit:
    """The same audit with the groups of its table repeated under other names until they have so many cells."""
    table = [group for group in audit.groups if group.role == "row"]
    if not any(row.role == "row" for row in audit.rows):
        raise UsageError("the audit has no row in its table, so that none can be repeated; give another audit")
    groups: list[Group] = []
    rows: list[Row] = []
    kept: set[str] = set()
    for round_ in count():
        for group in table:
            mine = [row for row in audit.rows if row.group == group.group and row.role == "row"]
            groups.append(
                group.model_copy(update={"group": f"{group.group}-{round_}", "label": f"{group.label} #{round_}"})
            )
            for row in mine:
                cell = f"{row.cell}-{round_}"
                if cell not in kept and len(kept) == cells:
                    return replace(audit, groups=tuple(groups), rows=tuple(rows), curves=())
                kept.add(cell)
                named = {"group": f"{group.group}-{round_}", "cell": cell, "label": f"{group.label} #{round_}"}
                rows.append(row.model_copy(update=named))
    raise AssertionError
