"""A cell: an attack on a recorded run, the fields of its results, and the folder that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..attacks import Attack
from ..attacks.attack import Goal
from ..system import files, folder
from .identity import SCHEMA
from .scoring import Rows
from .settings import changed

ONE_VICTIM = "conditional on this victim"
"""The scope of every interval: rows of one draw of data and one fine-tuning run."""

WHOLE, SHUFFLED = "", "shuffled"
"""The view as it is, and the twin whose samples are filed under each other's ids."""

NO_NUMBERS = (
    "metric", "direction", "value", "low", "high", "blind_outsider", "blind_rest", "advantage", "advantage_low",
    "advantage_high", "verdict", "n",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """An attack with its settings on a recorded run."""

    key: str
    run: Path
    attack: Attack
    settings: Mapping[str, Any]
    """All of the attack's settings."""

    @property
    def changed(self) -> dict[str, Any]:
        """Settings that differ from the attack's defaults."""
        return changed(self.settings, asdict(type(self.attack)()))


@dataclass(frozen=True)
class Scored:
    """What a cell's folder holds beside its results."""

    results: list[dict[str, Any]]
    rows: Mapping[str, Rows]
    examples: list[dict[str, Any]]


def common(cell: Cell, run: Mapping[str, Any], audit: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that every result of a cell has."""
    return {
        "schema": SCHEMA,
        "cell": cell.key,
        "run": run["run"],
        "protocol": run["protocol"],
        "label": run["label"],
        "paper_version": run["paper_version"],
        "difference": run["settings"].get("difference") if run["protocol"] == "pae" else None,
        "defence": None,
        "settings": cell.changed,
        "threat": run["threat"],
        "adversary": run["threat"]["adversary"],
        "attack": cell.attack.name,
        "attack_source": cell.attack.source,
        "goal": str(cell.attack.goal),
        "consumes": sorted(cell.attack.needs.view),
        "backbone": audit["backbone"],
        "data": audit["data"],
        "seed": run["victim"],
        "sandbox": audit["sandbox"],
        "scope": ONE_VICTIM,
        "utility": run["utility"]["value"],
        "uplink_bytes_per_sample": run["uplink_bytes_per_sample"],
        "downlink_bytes_per_sample": run["downlink_bytes_per_sample"],
        "versions": audit["versions"],
    }


def unscored(fields: Mapping[str, Any], status: str, reason: str, seconds: float | None = None) -> Scored:
    """A cell without a score; it is kept with its reason, never dropped."""
    outcome = {"primary": True, "controls": {}, "status": status, "reason": reason, "seconds": seconds}
    return Scored([{**fields, **dict.fromkeys(NO_NUMBERS), **outcome}], {}, [])


def store(root: Path, cell: Cell, scored: Scored) -> None:
    """Write a cell's folder by one rename; it replaces a failed one."""
    with files.whole(root / cell.key) as partial:
        files.write_json(partial / "result.json", scored.results)
        files.write_lines(partial / "examples.jsonl", scored.examples)
        tensors = {metric: torch.from_numpy(rows.values) for metric, rows in scored.rows.items()}
        folder.write_tensors(partial / "scores.safetensors", tensors)
        files.write_json(partial / "ids.json", {metric: list(rows.ids) for metric, rows in scored.rows.items()})


def finished(root: Path, key: str) -> list[dict[str, Any]] | None:
    """A cell's stored results; None where there are none or it failed, so that it runs again."""
    path = root / key / "result.json"
    if not path.exists():
        return None
    results: list[dict[str, Any]] = files.read_json(path)
    return None if any(result["status"] == "failed" for result in results) else results


def views(goal: Goal) -> tuple[str, ...]:
    """The views that an attack runs on: its own and, where a guess has a row a sample, its shuffled twin's."""
    return (WHOLE, SHUFFLED) if goal in (Goal.LABELS, Goal.TEXTS) else (WHOLE,)
