"""Frames at a running server: the slow proof, in small, and that it sees what it looks for."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sidelight.audits.proofs import hostile_frames as proof
from sidelight.audits.proofs.honest_device import Honest
from sidelight.system.network import network_pb2 as schema

FRAME = bytes(range(256)) * 20


def test_hundreds_of_frames_at_a_running_server_change_nothing_for_an_honest_device() -> None:
    found, told = proof.assault([FRAME], 200, callers=3, seed=0)
    assert found.failures == []
    assert found.frames == found.answers.total() == 200
    assert found.runs >= 2
    assert min(found.answers["OK"], found.answers["INVALID_ARGUMENT"], found.answers["RESOURCE_EXHAUSTED"]) > 0
    assert "MiB of" in told


def test_pieces_lie_now_and_then_and_are_the_frame_otherwise() -> None:
    sent = [list(proof.chunks(FRAME, np.random.default_rng(seed))) for seed in range(200)]
    sound = [one for one in sent if one == [schema.Chunk(size=len(FRAME), data=FRAME)]]
    assert 120 < len(sound) < 180
    assert {one[0].size for one in sent} >= {0, 1, len(FRAME) - 1, len(FRAME) + 1, 2**63}
    assert any(not chunk.size and not chunk.data for one in sent for chunk in one)


def test_other_weights_and_a_device_that_fails_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    device, found, over = Honest(), proof.Found(), threading.Event()
    monkeypatch.setattr(device, "trains", lambda port, which: False)
    proof.honest(1, device, over, found)
    assert "run 0 ended with other weights" in found.failures[0]
    monkeypatch.setattr(device, "trains", lambda port, which: 1 / 0)
    proof.honest(1, device, over, found)
    assert "ZeroDivisionError" in found.failures[1]
