"""Writes an audit's folder record by record, in the form in which an audit stores it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

VERSIONS = {"python": "3.11.7", "sidelight": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"}
THREAT = {
    "backbone": "public", "head": "public", "auxiliary": "same-domain", "known_labels": 0, "prompt_length_known": True,
    "adversary": "server", "behaviour": "honest-but-curious",
}  # fmt: skip


def interval(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0)}


NUMBERS = (
    "reason", "metric", "value", "low", "high", "blind_outsider", "blind_rest", "advantage", "advantage_low",
    "advantage_high", "p", "p_holm", "verdict", "n",
)  # fmt: skip


def row(run: str, label: str, attack: str, goal: str, **more: Any) -> dict[str, Any]:
    """A row of results.jsonl; without a value it is not scored."""
    return dict.fromkeys(NUMBERS) | {
        "schema": 2, "cell": f"{run}--{attack}", "cells": [f"{run}--{attack}"], "group": f"group of {run}",
        "role": "row", "run": run, "protocol": label.partition(" ")[0], "label": label,
        "paper_version": "v1, v2", "defence": None, "settings": {}, "threat": THREAT, "adversary": "server",
        "attack": attack, "attack_source": "ours", "goal": goal, "backbone": "b1c2", "data": "d3e4", "seed": 0,
        "victims": [0], "part_of": None, "attacker_seeds": 1, "family": "table", "sweep": None, "status": "scored",
        "sandbox": "landlock v7", "primary": True, "judged": True, "direction": "higher", "controls": {},
        "seconds": 1.4, "prepare_seconds": None, "peak_mib": 612, "versions": VERSIONS, "consumes": [],
        "scope": "conditional on this victim",
    } | more  # fmt: skip


def scored(value: float, blind: float, verdict: str, metric: str, consumes: list[str], n: int = 400) -> dict[str, Any]:
    advantage = (value - blind) / (1 - blind)
    p = {"leaks": 1e-9, "inconclusive": 0.4, "resists": 1.0}[verdict]
    return {
        **interval(value), "metric": metric, "n": n, "verdict": verdict, "consumes": consumes,
        "blind_outsider": interval(blind, 0.04) | {"twin": "learner"}, "blind_rest": interval(blind * 0.9, 0.03),
        "advantage": advantage, "advantage_low": advantage - 0.03, "advantage_high": advantage + 0.02,
        "p": p, "p_holm": min(8 * p, 1.0),
    }  # fmt: skip


def unscored(status: str, reason: str) -> dict[str, Any]:
    return {"status": status, "reason": reason, "judged": False}


def run(name: str, label: str, traffic: list[tuple[str, int, int]], **more: Any) -> dict[str, Any]:
    """A run.json; traffic is kind, messages, bytes from the device to the server."""
    up = sum(size for _, _, size in traffic) / 1000
    return {
        "run": name, "protocol": label.partition(" ")[0], "label": label, "title": "PAE MobiLLM",
        "source": "arXiv 2507.01216", "paper_version": "v1, v2", "claims": {}, "departures": [],
        "settings": {"epochs": 10, "selector": "last"},
        "threat": THREAT, "shows": [kind for kind, _, _ in traffic], "samples": 1000, "uplink_bytes_per_sample": up,
        "traffic": [
            {"kind": kind, "sender": "device-0", "receiver": "server", "messages": messages, "bytes": size}
            for kind, messages, size in traffic
        ],
        "downlink_bytes_per_sample": 0.0, "utility": interval(0.81, 0.04) | {"metric": "accuracy", "n": 400},
        "majority": interval(0.05) | {"metric": "accuracy", "n": 400}, "victim": 0, "seconds": 12.1,
        "floor": {"value": 0.71, "reached": True, "from": "80 % of the gain of local LoRA over majority"},
    } | more  # fmt: skip


def group(runs: Iterable[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """A line of groups.jsonl for the runs of one protocol, as the first run's figures have it."""
    first, *_ = every = list(runs)
    return {
        "group": f"group of {first['run']}", "label": first["label"], "protocol": first["protocol"], "role": "row",
        "runs": [run["run"] for run in every], "victims": [run["victim"] for run in every],
        "utility": first["utility"] and {**first["utility"], "scope": "conditional on this victim"},
        "floor": first["floor"],
    } | more  # fmt: skip


def write_audit(
    out: Path,
    head: Mapping[str, Any],
    runs: Iterable[Mapping[str, Any]],
    groups: Iterable[Mapping[str, Any]],
    rows: Iterable[Mapping[str, Any]],
    curves: Iterable[Mapping[str, Any]] = (),
    examples: Mapping[str, Any] | None = None,
) -> Path:
    """Write an audit's folder."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "audit.json").write_text(json.dumps(head), encoding="utf-8")
    for name, records in {"results": rows, "groups": groups, "curves": curves}.items():
        _write_lines(out / f"{name}.jsonl", records)
    for one in runs:
        (out / "runs" / one["run"]).mkdir(parents=True, exist_ok=True)
        (out / "runs" / one["run"] / "run.json").write_text(json.dumps(one), encoding="utf-8")
    for cell, values in (examples or {}).items():
        (out / "cells" / cell).mkdir(parents=True, exist_ok=True)
        _write_lines(out / "cells" / cell / "examples.jsonl", values)
    return out


def _write_lines(path: Path, records: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
