"""The rows as data: JSON as they are stored, CSV with one column a number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from .records import Row
from .results import Audit

FIELDS = (
    "cell", "run", "protocol", "label", "paper_version", "attack", "goal", "adversary", "seed", "status", "reason",
    "sandbox", "metric", "primary", "direction", "value", "low", "high", "advantage", "advantage_low",
    "advantage_high", "verdict", "n", "seconds", "scope",
)  # fmt: skip
TWINS = ("blind_outsider", "blind_rest")
TWIN_FIELDS = ("value", "low", "high", "twin")


def as_json(audit: Audit) -> str:
    """A list of the rows, every stored field kept."""
    return json.dumps([dict(row.stored) for row in audit.rows], indent=1, ensure_ascii=False) + "\n"


def as_csv(audit: Audit) -> str:
    """One line a metric with a heading; settings are JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*FIELDS, *(f"{t}_{f}" for t in TWINS for f in TWIN_FIELDS), "settings"])
    writer.writeheader()
    writer.writerows(dict(_flat(row)) for row in audit.rows)
    return text.getvalue()


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    yield from ((name, getattr(row, name)) for name in FIELDS)
    for twin in TWINS:
        found = getattr(row, twin)
        yield from ((f"{twin}_{name}", getattr(found, name, None)) for name in TWIN_FIELDS)
    yield "settings", json.dumps(row.settings, sort_keys=True)
