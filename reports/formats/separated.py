"""report.csv: the rows with one column a number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from ..stored.results import Audit
from ..stored.rows import Row

FIELDS = (
    "cell", "run", "group", "role", "part_of", "protocol", "label", "paper_version", "attack", "goal", "adversary",
    "seed", "status", "reason", "sandbox", "metric", "primary", "judged", "direction", "value", "low", "high",
    "advantage", "advantage_low", "advantage_high", "p", "p_holm", "family", "verdict", "n", "scope",
    "attacker_seeds", "seconds", "prepare_seconds", "peak_mib", "utility", "uplink_bytes_per_sample",
    "device_seconds_per_sample",
)  # fmt: skip
LISTS = ("victims", "chosen", "among")
TWINS = ("blind_outsider", "blind_rest")
BUDGET = ("epsilon", "delta", "unit")
PRICE = {
    "utility_loss": "utility_loss.value", "utility_loss_low": "utility_loss.low",
    "utility_loss_high": "utility_loss.high", "utility_loss_verdict": "verdict",
    "undefended_utility": "undefended.utility",
    "undefended_uplink_bytes_per_sample": "undefended.uplink_bytes_per_sample",
    "undefended_device_seconds_per_sample": "undefended.device_seconds_per_sample",
}  # fmt: skip
"""Columns, and where their numbers stand in a price."""
TWIN_FIELDS = ("value", "low", "high", "twin")


def as_csv(audit: Audit) -> str:
    """One line a metric with a heading; lists are joined by semicolons, settings and controls are JSON."""
    text = io.StringIO()
    lines = [dict(_flat(row)) for row in audit.rows]
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    yield from ((name, getattr(row, name)) for name in FIELDS)
    for twin in TWINS:
        found = getattr(row, twin)
        yield from ((f"{twin}_{name}", getattr(found, name, None)) for name in TWIN_FIELDS)
    yield "defence", _json(row.defence) if row.defence else None
    yield from ((name, getattr(row.epsilon, name, None)) for name in BUDGET)
    for name in ("epsilon_low", "epsilon_most"):
        yield name, getattr(row.epsilon and row.epsilon.audit, name, None)
    yield from ((name, row.price and attrgetter(path)(row.price)) for name, path in PRICE.items())
    yield from ((name, ";".join(map(str, getattr(row, name)))) for name in LISTS)
    yield "sweep_setting", row.sweep and row.sweep.setting
    yield "sweep_value", row.sweep and _plain(row.sweep.value)
    yield "controls", _json({name: control.model_dump() for name, control in row.controls.items()})
    yield "settings", _json(row.settings)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
