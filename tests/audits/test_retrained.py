"""A victim that is trained a second time: the agreement that two models of one recipe reach by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from sidelight.audits.runs import training
from sidelight.audits.runs.training import predictions
from sidelight.audits.sandbox.workers import Workers
from sidelight.system import files
from sidelight.system.data import Sample
from sidelight.system.protocols.pae_device import PAEDevice
from sidelight.system.roles import Role
from sidelight.system.truth import load_truth

from .small import LOCAL, PAE, SIZES, Small, results, run_here


def test_a_models_row_says_how_far_a_victim_trained_again_agrees(
    small: Small, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.Tensor] = []

    def kept(device: Role, samples: Sequence[Sample]) -> torch.Tensor:
        found = predictions(device, samples)
        if isinstance(device, PAEDevice):
            asked.append(found)
        return found

    monkeypatch.setattr(training, "predictions", kept)
    suite = tmp_path / "again.toml"
    readoff = 'attacks = ["readoff"]\n'
    suite.write_text("retrained = true\n" + readoff + SIZES + PAE + LOCAL, encoding="utf-8")
    passed, _ = run_here(small, tmp_path / "out", suite, workers)
    assert passed
    [run] = [path for path in (tmp_path / "out" / "runs").iterdir() if path.name.startswith("pae")]
    again = files.read_json(run / "run.json")["retrained"]
    assert again["n"] == 30
    first = load_truth(run / "truth").outputs
    second = next(said for said in asked if len(said) == again["n"])  # rows that it trains on are more
    assert float((first - second).abs().max()) > 1e-3  # trained anew, not asked again
    assert again["value"] == pytest.approx(float((first.argmax(1) == second.argmax(1)).float().mean()))
    assert again["value"] > 1 / 3
    rows = {row["metric"]: row for row in results(tmp_path / "out") if row["attack"] == "readoff" and row["metric"]}
    assert rows["agreement"]["value"] == 1
    assert f"agrees with the first in {again['value']:.3f}" in rows["agreement"]["reason"]
    assert rows["task_accuracy"]["value"] == pytest.approx(files.read_json(run / "run.json")["utility"]["value"])
    assert rows["closeness"]["value"] == pytest.approx(1, abs=1e-4)
    assert not rows["task_accuracy"]["judged"]
