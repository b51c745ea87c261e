"""What a budget came to, put beside the results it was held against: budget.json and junit.xml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...system import files
from ..planning.home import BUDGET, JUNIT
from .check import Check
from .checking import Found
from .junit import junit
from .wording import clean, notes, verdict

SCHEMA = 1


def write(out: Path, found: Found) -> None:
    """Write both files; nothing in them is private, and no path."""
    files.write_text(out / JUNIT, junit(found))
    files.write_json(out / BUDGET, stored(found))


def stored(found: Found) -> dict[str, Any]:
    """budget.json."""
    return {
        "schema": SCHEMA,
        "outcome": "within budget" if found.kept else "over budget",
        "kept": found.kept,
        "verdict": verdict(found),
        "limits": [
            {"limit": at, "given": _cleaned(limit.given), "bound": limit.bound, "at": limit.at,
             "counts": found.counts(at), "kept": not any(one.limit == at for one in found.broken)}
            for at, limit in found.budget.numbered()
        ],
        "breaches": [_breach(check) for check in found.broken],
        "notes": list(notes(found)),
        "unaudited": [_cleaned(one._asdict()) for one in found.unaudited],
    }  # fmt: skip


def _breach(check: Check) -> Any:
    return _cleaned(check.stored)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _cleaned(inner) for name, inner in value.items()}
    return [_cleaned(inner) for inner in value] if isinstance(value, list | tuple) else value
