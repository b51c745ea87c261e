"""Devices that send samples once make those of a few messages ahead, texts of about equal length in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from sidelight.system.cache import Cache, MemoryCache
from sidelight.system.message import Message
from sidelight.system.protocols.batch_order import ordered
from sidelight.system.protocols.fedmobillm import FedMobiLLM
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.once import MADE_AHEAD
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.pae_device import PAEDevice
from sidelight.system.protocols.protocol import batches
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER, Server
from sidelight.system.wire import Wire

from ..contracts.micro import VICTIM, Micro, make_scene

BATCH = 3
TOGETHER = MADE_AHEAD * BATCH
SIDE = SideTraining(bottleneck=4, epochs=1)


class Wanting(Server):
    """Wants some samples of those that are announced."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.wanted, self.came = wanted, list[tuple[str, ...]]()

    def handle(self, message: Message) -> Message:
        if message.kind == "activations":
            self.came.append(message.sample_ids)
        return self.answer(message, "ready")


class Sending:
    """A device of `pae` whose passes are watched, and a server that wants some samples of it."""

    def __init__(self, micro: Micro, wanted: Sequence[str], kept: Cache | None = None) -> None:
        protocol = PAE(side=SIDE, batch=BATCH)
        scene = make_scene(micro.backbone("opt"), protocol=protocol)
        device = protocol.device(scene, DEVICE)
        assert isinstance(device, PAEDevice)
        if kept is not None:
            device.keep_in(kept)
        self.seed, self.passes, self.server = scene.server_streams.seed, watched(device), Wanting(wanted)
        self.steps = device._send(Wire({SERVER: self.server}, lambda _message: None), wanted)


def watched(device: PAEDevice) -> list[list[str]]:
    """Texts by pass, as they come to be made."""
    passes, made = list[list[str]](), device.states
    device.states = lambda texts: (passes.append(texts), made(texts))[1]  # type: ignore[func-returns-value]
    return passes


def sent(micro: Micro, wanted: Sequence[str]) -> tuple[list[list[str]], list[tuple[str, ...]], str]:
    """Texts by pass, ids by message, and the seed of the order."""
    sending = Sending(micro, wanted)
    list(sending.steps)
    return sending.passes, sending.server.came, sending.seed


IDS = [sample.id for sample in VICTIM]


def test_texts_of_about_equal_length_are_passed_together_and_cross_in_their_order(micro: Micro) -> None:
    passes, came, seed = sent(micro, IDS)
    order = ordered(seed, 0, IDS)
    assert came == [tuple(some) for some in batches(order, BATCH)]
    text_of = {sample.id: sample.text for sample in VICTIM}
    pools = [sorted((text_of[i] for i in pool), key=len) for pool in batches(order, TOGETHER)]
    lengths = [[len(text) for text in some] for pool in pools for some in batches(pool, BATCH)]
    assert [[len(text) for text in some] for some in passes] == lengths


@pytest.mark.parametrize("come", [1, BATCH, TOGETHER - 1, TOGETHER + BATCH])
def test_what_is_passed_together_after_a_stop_is_what_was_before(micro: Micro, come: int) -> None:
    passes, _, seed = sent(micro, IDS)
    left = ordered(seed, 0, IDS)[come:]
    again, came, _ = sent(micro, left)
    assert [i for some in came for i in some] == left
    whole = -(-come // TOGETHER) * MADE_AHEAD
    assert again[-(len(passes) - whole) :] == passes[whole:]


def test_a_pass_is_made_behind_each_message_and_never_more_than_a_pool_ahead(micro: Micro) -> None:
    sending = Sending(micro, IDS)
    made = [len(sending.passes) for _ in sending.steps]
    whole = -(-len(IDS) // BATCH)
    assert made == [min(MADE_AHEAD + message, whole) for message in range(1, whole + 1)]


@pytest.mark.parametrize("messages", [1, 2, MADE_AHEAD, MADE_AHEAD + 1])
def test_where_what_was_made_outlives_a_stop_no_pass_is_another(micro: Micro, messages: int) -> None:
    whole, _, seed = sent(micro, IDS)
    kept = MemoryCache()
    first = Sending(micro, IDS, kept)
    for _ in range(messages):
        next(first.steps)
    left = ordered(seed, 0, IDS)[messages * BATCH :]
    second = Sending(micro, left, kept)
    list(second.steps)
    assert first.passes + second.passes == whole


def test_samples_that_were_lost_here_and_there_fill_messages(micro: Micro) -> None:
    wanted = IDS[::2]
    _, came, seed = sent(micro, wanted)
    asked = set(wanted)
    assert came == [tuple(some) for some in batches([i for i in ordered(seed, 0, IDS) if i in asked], BATCH)]


def test_a_server_that_loses_samples_gets_them_as_they_were_without_another_pass(micro: Micro) -> None:
    protocol = PAE(side=SIDE, batch=BATCH)
    device = protocol.device(make_scene(micro.backbone("opt"), protocol=protocol), DEVICE)
    assert isinstance(device, PAEDevice)
    seen: dict[str, torch.Tensor] = {}

    def look(message: Message) -> None:
        if message.kind == "activations":
            for i, row in zip(message.sample_ids, message.tensors["activations"], strict=True):
                assert torch.equal(seen.setdefault(i, row), row)

    wire = Wire({SERVER: Wanting(IDS)}, look)
    list(device._send(wire, IDS))

    def none(_texts: Any) -> torch.Tensor:
        raise AssertionError("passed again")

    device.states = none  # type: ignore[assignment]
    list(device._send(wire, IDS[2:9]))
    assert len(seen) == len(IDS)


def test_a_fleets_devices_do_so_too(micro: Micro) -> None:
    protocol = FedMobiLLM(side=SIDE, batch=BATCH, fleet=Fleet(1))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    device = protocol.device(scene, "device-0")
    assert isinstance(device, PAEDevice)
    passes = watched(device)
    work = device.work(Wire({SERVER: Wanting(IDS)}, lambda _message: None))
    next(work)
    lengths = [len(text) for some in passes[:MADE_AHEAD] for text in some]
    assert lengths == sorted(lengths)
    assert len(lengths) == TOGETHER
