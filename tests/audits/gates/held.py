"""A budget held against an audit made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidelight.audits.gates.budget import read_budget
from sidelight.audits.gates.checking import Found, check_budget
from sidelight.system import files

from ..synthetic import Made

PAE = ("activations", "difference")
SEEN = {"sign": ["difference"], "addback": ["activations", "difference"], "match": ["activations"]}
"""What attacks of these tests take."""

Row = dict[str, Any]


def group(made: Made, name: str, shows: tuple[str, ...] = PAE, victims: int = 1, **more: Any) -> str:
    """Runs whose adversary received these kinds."""
    threat = {"adversary": "server", "known_labels": 0, **more.pop("threat", {})}
    return made.group(name, victims, shows=list(shows), threat=threat, **more)


def held(made: Made, text: str, change: Callable[[Row], Row] | None = None) -> Found:
    """What a budget's text comes to; `change` alters every compiled row first."""
    made.compile()
    if change is not None:
        path = made.out / "results.jsonl"
        files.write_lines(path, [change(row) for row in files.read_lines(path)])
    return check_budget(made.out, read_budget(budget(made.out, text)))


def budget(folder: Path, text: str) -> Path:
    """A budget file; a text without a table's head is one limit."""
    path = folder / "limits.toml"
    path.write_text(text if text.lstrip().startswith(("[", "limit", "#")) else f"[[limit]]\n{text}", encoding="utf-8")
    return path


def outcomes(found: Found) -> list[str]:
    return [check.outcome for check in found.checks]
