"""Stored cells become one table in the order of the plan, and every run is told its utility floor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.results import compile_results, set_floors
from sidelight.system import files


def put_cell(out: Path, key: str, *rows: dict[str, Any]) -> None:
    folder = out / "cells" / key
    folder.mkdir(parents=True)
    files.write_json(folder / "result.json", [{"cell": key, **row} for row in rows])


def put_run(out: Path, key: str, utility: float, protocol: str = "pae", victim: int = 0, **settings: Any) -> None:
    folder = out / "runs" / key
    folder.mkdir(parents=True)
    run = {
        "run": key,
        "protocol": protocol,
        "settings": settings,
        "victim": victim,
        "utility": {"value": utility},
        "majority": {"value": 0.1},
    }
    files.write_json(folder / "run.json", run)


def floor(out: Path, key: str) -> Any:
    return files.read_json(out / "runs" / key / "run.json")["floor"]


def test_results_stand_in_the_order_of_the_plan_one_object_a_metric(tmp_path: Path) -> None:
    put_cell(tmp_path, "b", {"metric": "accuracy"})
    put_cell(tmp_path, "a", {"metric": "position_accuracy"}, {"metric": "exact"})
    compiled = compile_results(tmp_path, ["b", "a"])
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == compiled
    assert [(row["cell"], row["metric"]) for row in compiled] == [
        ("b", "accuracy"),
        ("a", "position_accuracy"),
        ("a", "exact"),
    ]


def test_cells_that_are_not_in_the_plan_stay_out_of_the_table(tmp_path: Path) -> None:
    put_cell(tmp_path, "old", {"metric": "accuracy"})
    put_cell(tmp_path, "new", {"metric": "accuracy"})
    assert [row["cell"] for row in compile_results(tmp_path, ["new"])] == ["new"]


def test_the_floor_is_four_fifths_of_the_gain_of_lora_in_one_process(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    put_run(tmp_path, "good", 0.745)
    put_run(tmp_path, "poor", 0.73)
    set_floors(tmp_path, ["lora", "good", "poor"])
    assert floor(tmp_path, "lora") is None
    assert floor(tmp_path, "good")["value"] == pytest.approx(0.1 + 0.8 * (0.9 - 0.1))
    assert (floor(tmp_path, "good")["reached"], floor(tmp_path, "poor")["reached"]) == (True, False)


def test_each_victim_has_a_floor_of_its_own_and_none_without_lora(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    put_run(tmp_path, "side", 0.8, protocol="local", method="side")
    put_run(tmp_path, "other", 0.9, victim=1)
    set_floors(tmp_path, ["lora", "side", "other"])
    assert floor(tmp_path, "side")["reached"] is True
    assert floor(tmp_path, "other") is None


def test_a_floor_that_stands_already_is_not_written_again(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    set_floors(tmp_path, ["lora"])
    before = (tmp_path / "runs" / "lora" / "run.json").stat().st_mtime_ns
    set_floors(tmp_path, ["lora"])
    assert (tmp_path / "runs" / "lora" / "run.json").stat().st_mtime_ns == before
