"""Every run is told the utility that its leakage is read against."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.audits.compiling.floors import set_floors
from sidelight.system import files

from .synthetic import Made


def put_run(out: Path, key: str, utility: float, protocol: str = "pae", victim: int = 0, **settings: str) -> None:
    made = Made(out) if not (out / "runs").exists() else None
    assert made is None or made.out == out
    (out / "runs" / key).mkdir()
    run = {
        "run": key,
        "protocol": protocol,
        "settings": settings,
        "victim": victim,
        "labels": "own",
        "identity": {"sizes": {}, "data": "02"},
        "utility": {"value": utility},
        "majority": {"value": 0.1},
    }
    files.write_json(out / "runs" / key / "run.json", run)


def floor(out: Path, key: str) -> dict[str, object] | None:
    stored: dict[str, object] | None = files.read_json(out / "runs" / key / "run.json")["floor"]
    return stored


def test_the_floor_is_four_fifths_of_the_gain_of_lora_in_one_process(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    put_run(tmp_path, "good", 0.745)
    put_run(tmp_path, "poor", 0.73)
    set_floors(tmp_path, ["lora", "good", "poor"])
    good, poor = floor(tmp_path, "good"), floor(tmp_path, "poor")
    assert floor(tmp_path, "lora") is None
    assert good is not None
    assert poor is not None
    assert good["value"] == pytest.approx(0.1 + 0.8 * (0.9 - 0.1))
    assert (good["reached"], poor["reached"]) == (True, False)


def test_each_victim_has_a_floor_of_its_own_and_none_without_lora(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    put_run(tmp_path, "side", 0.8, protocol="local", method="side")
    put_run(tmp_path, "other", 0.9, victim=1)
    set_floors(tmp_path, ["lora", "side", "other"])
    side = floor(tmp_path, "side")
    assert side is not None
    assert side["reached"] is True
    assert floor(tmp_path, "other") is None


def test_a_floor_that_stands_already_is_not_written_again(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 0.9, protocol="local", method="lora")
    set_floors(tmp_path, ["lora"])
    before = (tmp_path / "runs" / "lora" / "run.json").stat().st_mtime_ns
    set_floors(tmp_path, ["lora"])
    assert (tmp_path / "runs" / "lora" / "run.json").stat().st_mtime_ns == before
