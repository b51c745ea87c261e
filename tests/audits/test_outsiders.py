"""Adversaries beside the curious server, through the whole harness: who sees connections alone, and who deviates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sidelight.audits.runs.adversary import shown_to
from sidelight.audits.runs.eavesdropping import Tap
from sidelight.audits.sandbox.workers import Workers
from sidelight.system.message import Message, encode
from sidelight.system.packets import EAVESDROPPER, carried
from sidelight.system.protocols.local import Local
from sidelight.system.protocols.mobillm import MobiLLM
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.public import load_public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.truth import load_truth
from sidelight.system.view import load_view

from ..contracts.micro import VICTIM, Micro, make_scene, record
from .small import Small, results, run_here

OVERHEARD = """
[[runs]]
protocol = "mobillm"
settings = { side = { epochs = 2, bottleneck = 4, batch = 1 } }
attacks = ["size", "plaintext"]
threat = { adversary = "eavesdropper", known_labels = 1 }
"""
DECEIVED = """
[[runs]]
protocol = "pae"
settings = { side = { epochs = 4, bottleneck = 4, batch = 12, learning_rate = 0.02 } }
attacks = ["resend"]
threat = { behaviour = "deviating", claimed_losses = 32 }
defences.noise = { epsilon = 6.0 }
controls.fresh.settings = { fresh_noise = true }
"""


def test_a_tap_keeps_numbers_and_sizes_and_the_harness_knows_whose_they_are(micro: Micro) -> None:
    """Two passes over the rows, two a message, each answered: 48 messages with activations and as many with labels."""
    protocol = MobiLLM(side=SideTraining(bottleneck=4, epochs=2, batch=2))
    run = record(protocol, make_scene(micro.backbone("opt")))
    kept: list[Message] = []
    tap = Tap(kept.append, [DEVICE])
    for message in run.messages:
        tap(message)
    assert [m.tensors["bytes"].tolist() for m in kept] == [[carried(len(encode(m)))] for m in run.messages]
    assert [m.tensors["up"].tolist() == [1] for m in kept] == [m.sender == DEVICE for m in run.messages]
    assert {(m.sender, m.receiver, m.round, m.step) for m in kept} == {(DEVICE, EAVESDROPPER, 0, 0)}
    carrying = [len(m.sample_ids) for m in kept if m.sample_ids]
    assert carrying == [2] * 48
    numbered = {row.id: own.id for own, row in zip(VICTIM, tap.numbered(VICTIM), strict=True)}
    first = [(m, k) for m, k in zip(run.messages, kept, strict=True) if m.kind == "activations" and m.round == 0]
    assert numbered == {n: i for m, k in first for i, n in zip(m.sample_ids, k.sample_ids, strict=True)}


def test_an_eavesdropper_sees_packets_wherever_anything_crosses() -> None:
    seen = [shown_to(frozenset({EAVESDROPPER}), one) for one in (MobiLLM(), Local())]
    assert seen == [{"packet"}, frozenset()]


def test_an_eavesdropper_is_given_packets_and_scored_by_its_own_numbers(
    small: Small, workers: Workers, tmp_path: Path
) -> None:
    assert run_here(small, tmp_path / "out", small.suite("overheard", OVERHEARD), workers)[0]
    (run,) = (tmp_path / "out" / "runs").iterdir()
    view, public, truth = load_view(run / "view"), load_public(run / "public"), load_truth(run / "truth")
    assert {(m.kind, m.receiver) for m in view.messages} == {("packet", EAVESDROPPER)}
    assert view.held == {}
    rows = {row.id for row in truth.rows}
    assert {one.id for one in public.known} < rows < set(view.sample_ids())
    assert set(public.targets) < rows
    found = {row["attack"]: row for row in results(tmp_path / "out") if row["metric"] in ("accuracy", None)}
    assert (found["plaintext"]["status"], found["size"]["status"]) == ("not_exposed", "scored")
    assert (found["size"]["adversary"], found["size"]["n"]) == (EAVESDROPPER, len(rows) - 3)
    stored = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (stored["shows"], list(stored["others"])) == (["packet"], [SERVER])


def test_a_server_that_claims_losses_reads_labels_off_fresh_noise_alone(
    small: Small, workers: Workers, tmp_path: Path
) -> None:
    assert run_here(small, tmp_path / "out", small.suite("deceived", DECEIVED), workers)[0]
    rows: dict[tuple[str, bool], Any] = {
        (row["role"], "fresh_noise" in row["label"]): row
        for row in results(tmp_path / "out")
        if row["attack"] == "resend" and row["metric"] == "accuracy"
    }
    kept, fresh = rows["row", False], rows["control", True]
    assert kept["value"] < fresh["value"] == 1.0
    assert kept["epsilon"]["epsilon"] == 6.0 < fresh["epsilon"]["epsilon"]
    assert kept["controls"]["fresh"]["value"] == 1.0
    assert kept["threat"]["claimed_losses"] == 32
