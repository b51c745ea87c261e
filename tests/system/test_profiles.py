"""Modelled costs against values worked out by hand and against what PyTorch counts on real parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sidelight.system.backbone import Backbone, load_backbone
from sidelight.system.errors import UsageError
from sidelight.system.message import Message, encode
from sidelight.system.partial import Bottom, tuned_state
from sidelight.system.profiles import Load, Profile, Shape, deepest, message_bits, quickest, shape_of

from ..contracts.micro import Micro

SMALL = Shape(blocks=5, width=10, heads=2, block=1000, embeddings=5000, maps=100)
LOAD = Load(SMALL, cut=2, rank=3, texts=4, positions=6)
PHONE = Profile("phone", memory=1, compute=1e3, uplink=1e3, downlink=2e3)


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return load_backbone("sidelight-tiny")


def test_memory_is_weights_updates_and_what_a_batch_keeps() -> None:
    """4 (5000 + 2000) = 28000; 16 x 2 x 3 x 100 = 9600; 4 x 24 x 2 (160 + 2 x 6) = 33024."""
    assert LOAD.memory * 2**20 == pytest.approx(28000 + 9600 + 33024)


def test_a_batch_takes_what_its_flops_and_its_bits_take() -> None:
    """Forward 2 x 24 x 1300 a block, backward 2 x 24 x 1600; updates of 2 x 3 x 100 values every 5 batches."""
    bits = message_bits(4, 6, 10)
    job = replace(LOAD, every=5).job(PHONE, server=1e4)
    updates = 32 * 600 / 5
    assert job.ready == pytest.approx(2 * 62400 / 1e3 + bits / 1e3)
    assert job.work == pytest.approx(3 * (62400 + 76800) / 1e4)
    assert job.tail == pytest.approx((bits + updates) / 2e3 + updates / 1e3 + 2 * 76800 / 1e3)


def test_bits_are_those_of_the_message_that_crosses() -> None:
    tensors = {"activations": torch.randn(24, 1, 10), "lengths": torch.full((4,), 6)}
    data = encode(Message("activations", "device-0", "server", 0, 0, ("ab" * 8,) * 4, tensors))
    assert message_bits(4, 6, 10) == 8 * len(data)


def test_a_shape_is_counted_from_the_backbone(tiny: Backbone, micro: Micro) -> None:
    for backbone in (tiny, micro.backbone("opt"), micro.backbone("llama")):
        shape = shape_of(backbone)
        bottom = Bottom(backbone, 1, 4, torch.Generator())
        assert sum(t.numel() for t in tuned_state(bottom).values()) == 4 * shape.maps
        held = sum(p.numel() for p in backbone.model.parameters())
        norm = held - shape.embeddings - shape.blocks * shape.block
        assert norm == sum(p.numel() for n, p in backbone.model.named_parameters() if _behind(n))
        assert shape.blocks == len(backbone.blocks)


def _behind(name: str) -> bool:
    """What stands behind the last block: the final norm, and an output matrix that is no embedding's."""
    return "decoder.final_layer_norm" in name or name in ("model.norm.weight", "lm_head.weight")


def test_flops_are_about_those_that_are_counted(tiny: Backbone) -> None:
    """The first block's own input needs no gradient, which the formula counts: a quarter of that block."""
    cut, rank = 4, 8
    bottom = Bottom(tiny, cut, rank, torch.Generator().manual_seed(0))
    tokens = tiny.pad([list(range(4, 44))] * 8)
    load = Load(shape_of(tiny), cut, rank, texts=8, positions=40)
    with FlopCounterMode(display=False) as forward:
        states = bottom(tokens)
    with FlopCounterMode(display=False) as backward:
        states.sum().backward()
    assert forward.get_total_flops() == pytest.approx(load.forward(cut), rel=0.1)
    assert backward.get_total_flops() == pytest.approx(load.backward(cut), rel=0.1)


def test_as_many_blocks_as_fit_are_assigned_and_none_is_refused() -> None:
    """A block takes 4000 + 4800 + 16512 bytes, beside 20000."""
    loads = [replace(LOAD, cut=cut) for cut in range(1, 5)]
    for bytes_, cut in ((20000 + 25312, 1), (20000 + 3 * 25312 - 1, 2), (20000 + 3 * 25312, 3), (10**6, 4)):
        assert deepest(replace(PHONE, memory=bytes_ / 2**20), loads).cut == cut
    with pytest.raises(UsageError, match="phone has 0 MiB"):
        deepest(replace(PHONE, memory=0.01), loads)


def test_a_device_that_is_faster_than_the_server_takes_more_blocks() -> None:
    loads = [replace(LOAD, cut=cut) for cut in range(1, 5)]
    assert quickest(PHONE, loads, server=1e4).cut == 1
    assert quickest(PHONE, loads, server=1e2).cut == 4
    assert quickest(replace(PHONE, memory=0.07), loads, server=1e2).cut == 2


def test_a_slow_link_gets_a_low_rank() -> None:
    """Of 100 values a rank and block, every batch: 50 times the 240 values of a batch's states."""
    loads = [replace(LOAD, cut=1, rank=rank, every=1) for rank in (1, 2, 4)]
    slow, fast = replace(PHONE, compute=1e9), replace(PHONE, compute=1e4, uplink=1e9, downlink=1e9)
    assert quickest(slow, loads, server=1e9).rank == 1
    assert quickest(fast, [replace(load, shape=replace(SMALL, maps=5)) for load in loads], server=1e9).rank == 4
