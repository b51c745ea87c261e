"""How useful each run's model is: the floor that leakage is read against, and utility over victims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...system import files
from ..planning.layout import Group, Layout
from ..statistics import FEWEST_VICTIMS, t_interval
from .prices import Prices

FLOOR = 0.8
"""Share of the gain over majority, made by LoRA in one process, that a protocol must reach."""

FLOOR_SOURCE = "80 % of the gain over majority that LoRA makes in one process"


def set_floors(out: Path, runs: Sequence[str]) -> None:
    """Write into each run.json the utility floor that the same victim's local LoRA sets.

    LoRA on other data (a sweep of the data) sets the floor of the runs on those data alone.
    """
    paths = [out / "runs" / key / "run.json" for key in runs]
    stored = [files.read_json(path) for path in paths]
    lora: dict[str, dict[str, Any]] = {}
    for run in stored:  # the best one, where a suite tunes LoRA in several ways
        if run["protocol"] == "local" and run["settings"].get("method") == "lora" and run["labels"] == "own":
            best = lora.get(_data_of(run), run)
            lora[_data_of(run)] = max(best, run, key=lambda r: float(r["utility"]["value"]))
    for path, run in zip(paths, stored, strict=True):
        floor = _floor(run, lora.get(_data_of(run)))
        if run.get("floor", "absent") != floor:
            files.write_json(path, {**run, "floor": floor})


def _data_of(run: Mapping[str, Any]) -> str:
    """What a victim and its data are known by."""
    sizes = sorted(run["identity"].get("sizes", {}).items())
    return repr((run["victim"], sizes, run["identity"]["data"], run["labels"]))


def _floor(run: dict[str, Any], lora: dict[str, Any] | None) -> dict[str, Any] | None:
    if lora is None or run["run"] == lora["run"]:
        return None
    majority = lora["majority"]["value"]
    value = majority + FLOOR * (lora["utility"]["value"] - majority)
    return {"value": value, "reached": run["utility"]["value"] >= value, "from": FLOOR_SOURCE}


def describe_groups(out: Path, layout: Layout, prices: Prices) -> list[dict[str, Any]]:
    """groups.jsonl: each group of runs with its utility and floor over the recorded victims, and its price."""
    return [{**_described(out, group), "price": prices.of(group.group)} for group in layout.groups]


def _described(out: Path, group: Group) -> dict[str, Any]:
    paths = {victim: out / "runs" / key / "run.json" for victim, key in group.runs.items()}
    runs = [files.read_json(path) for path in paths.values() if path.exists()]
    floors = [run["floor"]["value"] for run in runs if run.get("floor")]
    utility = _utility([run["utility"] for run in runs if run["utility"]])
    floor = None
    if utility and floors and len(floors) == len(runs):
        value = sum(floors) / len(floors)
        floor = {"value": value, "reached": utility["value"] >= value, "from": FLOOR_SOURCE}
    return {
        "group": group.group,
        "label": group.label,
        "protocol": group.protocol,
        "role": group.role,
        "runs": list(group.runs.values()),
        "victims": list(group.runs),
        "utility": utility,
        "floor": floor,
    }


def _utility(found: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """One victim's utility with its exact interval; the mean of several, with a t-interval where they are enough."""
    if len(found) < 2:
        return {**found[0], "scope": "conditional on this victim"} if found else None
    values = [run["value"] for run in found]
    low = high = None
    if len(found) >= FEWEST_VICTIMS:
        _, low, high = t_interval(values)
    scope = f"mean of {len(found)} victims"
    return {
        "value": sum(values) / len(values),
        "low": low,
        "high": high,
        "n": sum(r["n"] for r in found),
        "scope": scope,
    }
