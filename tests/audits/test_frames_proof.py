"""Mutated frames are decoded or refused: the slow proof, in small, and that it sees what it looks for."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from sidelight.audits.proofs import frames as proof
from sidelight.audits.proofs.memory import peak_memory
from sidelight.audits.proofs.mutations import CHANGES, mutated
from sidelight.audits.proofs.recorded import recorded, small_protocols
from sidelight.system.codec import PRECISIONS, Precision
from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message, decode, encode
from sidelight.system.protocols import PROTOCOLS

from ..contracts.micro import make_micro

HAND_MADE = [
    encode(Message("k", "a", "b", 1, 2, ("0" * 16,), {"x": torch.arange(1.0, 71).view(2, 35)}, p)) for p in PRECISIONS
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return recorded(str(make_micro(tmp_path_factory.mktemp("micro")).folders["opt"]))


def test_real_frames_are_of_every_protocol_that_sends_and_every_precision(real: list[bytes]) -> None:
    read = [decode(frame) for frame in real]
    assert {message.precision for message in read} == set(PRECISIONS)
    assert {protocol.name for protocol in small_protocols()} == {name for name in PROTOCOLS if PROTOCOLS[name].trains}
    kinds = {message.kind for message in read if message.tensors}
    shown = {kind for protocol in small_protocols() for each in protocol.shows.values() for kind in each}
    assert {kind for kind in shown if not kind.startswith("held:")} <= kinds


def test_thousands_of_mutated_frames_are_decoded_or_refused(real: list[bytes]) -> None:
    *_, tally = proof.met(mutated(real, np.random.default_rng(0)), 4000)
    assert tally.failures == []
    assert tally.frames == 4000
    assert min(tally.decoded, tally.refused) > 200


def test_mutation_repeats_with_its_generator_and_changes_nearly_every_frame() -> None:
    first, second = (list(islice(mutated(HAND_MADE, np.random.default_rng(5)), 500)) for _ in range(2))
    assert first == second
    assert sum(frame in HAND_MADE for frame in first) < 50


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_takes_any_bytes(change: object) -> None:
    generator = np.random.default_rng(1)
    for frame in (b"", b"\xff", b"\x0a\x01k", HAND_MADE[0]):
        for _ in range(20):
            assert isinstance(change(frame, HAND_MADE[1], generator), bytes)  # type: ignore[operator]


def failures(count: int = 40) -> list[str]:
    *_, tally = proof.met(iter(HAND_MADE * 10), count)
    return tally.failures


def test_another_exception_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failures() == []

    def broken(frame: bytes, most_values: int = 0) -> Message:
        raise OverflowError("too large")

    monkeypatch.setattr(proof, "decode", broken)
    assert failures()[0] == f"frame 0, {len(HAND_MADE[0])} bytes: OverflowError: too large"


def test_a_long_or_unprintable_refusal_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("x" * 301, "a\x1b[2J", "é"):

        def quoting(frame: bytes, most_values: int = 0, said: str = said) -> Message:
            raise ProtocolError(said)

        monkeypatch.setattr(proof, "decode", quoting)
        assert "no short printable sentence" in failures()[0]


def test_memory_beyond_the_bound_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resident memory of this process is raised for good, by four times what is allowed."""
    held: list[torch.Tensor] = []

    def greedy(frame: bytes, most_values: int = 0) -> Message:
        if not held:
            peak = peak_memory()
            while peak_memory() < peak + 4 * proof.ALLOCATOR:  # what was freed before may be taken first
                held.append(torch.ones(proof.ALLOCATOR))
        return decode(frame)

    monkeypatch.setattr(proof, "decode", greedy)
    assert "bytes of memory" in failures()[0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_message_is_seen(precision: Precision) -> None:
    """A changed value, shape, name, id or step."""
    message = decode(HAND_MADE[PRECISIONS.index(precision)])
    again, x = decode(encode(message)), message.tensors["x"]
    assert proof.same(message, again)
    changed = x.clone()
    changed[0, 0] += 0.6 * x.max()
    for other in ({"x": changed}, {"x": x.view(35, 2)}, {"y": x}, {}, {"x": x.long()}):
        assert not proof.same(message, replace(again, tensors=other))
    assert not proof.same(message, replace(again, step=3))
    assert not proof.same(message, replace(again, sample_ids=()))
