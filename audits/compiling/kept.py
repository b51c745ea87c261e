"""Whether the promises of recorded runs stand beside what their audits found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...system import files
from ..privacy.promises import PROMISES


def promises_kept(out: Path, runs: Iterable[str]) -> bool:
    """False where an audit shows more than a run promised."""
    for key in runs:
        path = out / "runs" / key / "run.json"
        about = files.read_json(path) if path.exists() else {}
        for promised in filter(None, map(about.get, PROMISES)):
            found = promised.get("audit")
            if found and found["epsilon_low"] > promised["epsilon"]:
                return False
    return True
