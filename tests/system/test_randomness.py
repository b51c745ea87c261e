"""Streams: the same for the same seed and name, unrelated otherwise, and never the global one."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from sidelight.system.randomness import Streams, fresh_seed

STREAMS = Streams("secret")
NAMES = ["data", "keys", "noise", "device-0:order", "device-1:order", "", "data\0"]


def test_an_integer_is_the_hash_of_seed_and_name() -> None:
    digest = hashlib.sha256(b"secret\0data").digest()
    assert STREAMS.integer("data") == int.from_bytes(digest[:8], "big") // 2
    assert 0 <= STREAMS.integer("keys") < 2**63


def test_a_part_has_streams_of_its_own() -> None:
    assert STREAMS.of("run").seed == hashlib.sha256(b"secret\0run\0streams").hexdigest()
    drawn = {s.integer(name) for s in (STREAMS, STREAMS.of("run"), STREAMS.of("run").of("run")) for name in NAMES}
    assert len(drawn) == 3 * len(NAMES)


def test_streams_repeat_per_seed_and_name() -> None:
    for name in NAMES:
        assert torch.equal(torch.rand(5, generator=STREAMS.torch(name)), torch.rand(5, generator=STREAMS.torch(name)))
        assert STREAMS.numpy(name).random(5).tolist() == Streams("secret").numpy(name).random(5).tolist()


def test_streams_of_other_names_and_seeds_are_uncorrelated() -> None:
    """4,000 draws: a correlation above 0.08 has probability below 1e-6."""
    drawn = [torch.randn(4000, generator=Streams(seed).torch(name)).numpy() for seed in "ab" for name in NAMES]
    drawn += [Streams(seed).numpy(name).normal(size=4000) for seed in "ab" for name in NAMES]
    correlations = np.corrcoef(np.stack(drawn)) - np.eye(len(drawn))
    assert np.abs(correlations).max() < 0.08


def test_drawing_from_one_stream_moves_no_other_and_not_the_global_state() -> None:
    before = torch.get_rng_state()
    first = torch.rand(3, generator=STREAMS.torch("noise"))
    torch.rand(100, generator=STREAMS.torch("keys"))
    assert torch.equal(first, torch.rand(3, generator=STREAMS.torch("noise")))
    assert torch.equal(before, torch.get_rng_state())


def test_a_fresh_seed_has_128_bits_and_is_never_the_same() -> None:
    seeds = {fresh_seed() for _ in range(50)}
    assert len(seeds) == 50
    assert {len(bytes.fromhex(seed)) for seed in seeds} == {16}


def test_seeds_that_agree_in_the_bits_that_manual_seed_keeps_draw_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Streams("a"), Streams("b")
    monkeypatch.setattr(Streams, "integer", lambda self, name: 7)
    assert not torch.equal(torch.randn(4, generator=first.torch("x")), torch.randn(4, generator=second.torch("x")))


def test_the_state_that_is_filled_has_the_layout_of_the_pinned_torch() -> None:
    assert torch.Generator().get_state().shape == (5056,)
    drawn = torch.randn(20_000, generator=Streams("a").torch("x"))
    assert abs(float(drawn.mean())) < 0.03
    assert abs(float(drawn.std()) - 1) < 0.03
