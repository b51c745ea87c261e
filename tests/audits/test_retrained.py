"""A victim that is trained a second time: the agreement that two models of one recipe reach by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.audits.sandbox.workers import Workers
from sidelight.system import files

from .small import LOCAL, PAE, SIZES, Small, results, run_here


def test_a_models_row_says_how_far_a_victim_trained_again_agrees(
    small: Small, workers: Workers, tmp_path: Path
) -> None:
    suite = tmp_path / "again.toml"
    readoff = 'attacks = ["readoff"]\n'
    suite.write_text("retrained = true\n" + readoff + SIZES + PAE + LOCAL, encoding="utf-8")
    passed, _ = run_here(small, tmp_path / "out", suite, workers)
    assert passed
    [run] = [path for path in (tmp_path / "out" / "runs").iterdir() if path.name.startswith("pae")]
    again = files.read_json(run / "run.json")["retrained"]
    assert again["n"] == 30
    assert 1 / 3 < again["value"] <= 1
    rows = {row["metric"]: row for row in results(tmp_path / "out") if row["attack"] == "readoff" and row["metric"]}
    assert rows["agreement"]["value"] == 1
    assert f"agrees with the first in {again['value']:.3f}" in rows["agreement"]["reason"]
    assert rows["task_accuracy"]["value"] == pytest.approx(files.read_json(run / "run.json")["utility"]["value"])
    assert rows["closeness"]["value"] == pytest.approx(1, abs=1e-4)
    assert not rows["task_accuracy"]["judged"]
