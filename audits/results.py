"""Compiles stored runs and cells into what a report reads: results.jsonl, each run's floor, audit.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..system import files

FLOOR = 0.8
"""Share of the gain over majority, made by LoRA in one process, that a protocol must reach."""

FLOOR_SOURCE = "80 % of the gain over majority that LoRA makes in one process"


def compile_results(out: Path, cells: Sequence[str], others: Sequence[dict[str, Any]] = ()) -> list[dict[str, Any]]:
    """Write results.jsonl, one object a metric, in the order of the plan, `others` last; returns them."""
    results = [row for key in cells for row in files.read_json(out / "cells" / key / "result.json")] + list(others)
    files.write_lines(out / "results.jsonl", results)
    return results


def set_floors(out: Path, runs: Sequence[str]) -> None:
    """Write into each run.json the utility floor that the same victim's local LoRA sets."""
    paths = [out / "runs" / key / "run.json" for key in runs]
    stored = [files.read_json(path) for path in paths]
    lora: dict[int, dict[str, Any]] = {}
    for run in stored:  # the best one, where a suite tunes LoRA in several ways
        if run["protocol"] == "local" and run["settings"]["method"] == "lora":
            best = lora.get(run["victim"], run)
            lora[run["victim"]] = max(best, run, key=lambda r: float(r["utility"]["value"]))
    for path, run in zip(paths, stored, strict=True):
        floor = _floor(run, lora.get(run["victim"]))
        if run.get("floor", "absent") != floor:
            files.write_json(path, {**run, "floor": floor})


def _floor(run: dict[str, Any], lora: dict[str, Any] | None) -> dict[str, Any] | None:
    if lora is None or run["run"] == lora["run"]:
        return None
    majority = lora["majority"]["value"]
    value = majority + FLOOR * (lora["utility"]["value"] - majority)
    return {"value": value, "reached": run["utility"]["value"] >= value, "from": FLOOR_SOURCE}
