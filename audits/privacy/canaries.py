"""Canaries sent through a device's own code: which of two inputs it was given is to be guessed from what crossed.

Shapes: n canaries, N blocks, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import NamedTuple

import torch

from ...system.data import Sample
from ...system.message import Message
from ...system.protocols import Protocol, Scene
from ...system.protocols.cut import CutDevice
from ...system.protocols.mobillm import MobiLLMDevice
from ...system.protocols.pae_device import PAEDevice
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER, Device, Server
from ...system.wire import Wire
from .promises import Promise

PAIRS = 10_000
SENDS = 4
"""Times that each canary is sent at least: what is kept crosses unchanged, and fresh noise or labels are averaged."""
AT_ONCE = 1000
"""Canaries of one device."""


class Side(NamedTuple):
    """What a device may be given: the backbone's states (N, d) and a class."""

    states: torch.Tensor
    label: int


Sides = Callable[[PAEDevice], tuple[Side, Side]]
"""Two inputs for a device with its keys."""


@dataclass(frozen=True)
class Canaries:
    """A device with canaries for samples: the first or the second of two inputs, by coin."""

    promise: Promise
    device: PAEDevice
    sides: tuple[Side, Side]
    samples: tuple[Sample, ...]
    coins: torch.Tensor
    """(n,) bool: true for the second input."""


class _Sink(Server):
    def handle(self, message: Message) -> Message:
        return self.answer(message, "ready")


def device_of(protocol: Protocol, scene: Scene, samples: tuple[Sample, ...], streams: Streams) -> Device:
    """A device as those of the run are, with other samples, keys and noise."""
    return protocol.device(Scene(scene.backbone, scene.labels, {DEVICE: samples}, streams), DEVICE)


def drawn(promise: Promise, sides: Sides, streams: Streams, pairs: int) -> Iterator[Canaries]:
    """Devices that hold what coins chose of two inputs, each with keys and noise of its own.

    The inputs are made for each device's own keys: what a secret projection would swallow tells nothing.
    """
    scene = promise.scene
    for start in range(0, pairs, AT_ONCE):
        own = streams.of(str(start))
        coins = torch.rand(min(AT_ONCE, pairs - start), generator=own.torch("coins")) < 0.5
        first, second = chosen = sides(_pae_device(promise, one_sample(scene), own))
        samples = canary_samples(coins, (scene.labels[first.label], scene.labels[second.label]))
        device = _pae_device(promise, samples, own)
        device.states = partial(_states, chosen)
        yield Canaries(promise, device, chosen, samples, coins)


def _pae_device(promise: Promise, samples: tuple[Sample, ...], streams: Streams) -> PAEDevice:
    found = device_of(promise.protocol, promise.scene, samples, streams)
    assert isinstance(found, PAEDevice)
    return found


def _states(sides: tuple[Side, Side], texts: Sequence[str]) -> torch.Tensor:
    return torch.stack([sides[int(text)].states for text in texts])


def canary_samples(coins: torch.Tensor, labels: Sequence[str]) -> tuple[Sample, ...]:
    """For each coin a sample whose text is its side's number."""
    return tuple(Sample(f"{i:016x}", str(side), labels[side], ()) for i, side in enumerate(coins.int().tolist()))


def one_sample(scene: Scene) -> tuple[Sample, ...]:
    """Of a device that is only looked at."""
    return canary_samples(torch.tensor([False]), scene.labels)


def sent(canaries: Canaries) -> dict[str, torch.Tensor]:
    """What crosses of canaries (n, ...) by kind, in the mean over as many times as they are sent.

    They are sent as often as the run released a sample, and SENDS times at least. What the device's own account charges
    beyond the promise is left aside: the run has not released it. What it takes to be free is read.
    """
    total: dict[str, torch.Tensor] = {}
    times = 0
    for _ in range(max(SENDS, canaries.promise.releases)):
        crossed = heard(partial(canaries.device.contribute, rows=canaries.samples))
        if times and not canaries.promise.covers(canaries.device.releases):
            break
        times += 1
        total = {kind: total.get(kind, 0) + tensor.double() for kind, tensor in crossed.items()}
    return {kind: tensor / times for kind, tensor in total.items()}


def sent_labels(device: MobiLLMDevice | CutDevice, ids: tuple[str, ...]) -> torch.Tensor:
    """The labels (SENDS, n) that a device tells in clear, epoch after epoch."""
    told = (heard(methodcaller("request", device.labels(epoch, ids))) for epoch in range(SENDS))
    return torch.stack([crossed["labels"] for crossed in told])


def heard(act: Callable[[Wire], object]) -> dict[str, torch.Tensor]:
    """By kind what a device sends of its own to a server that takes everything."""
    crossed: dict[str, torch.Tensor] = {}

    def listen(message: Message) -> None:
        if message.sender == DEVICE:
            crossed[message.kind] = message.tensors[message.kind]

    act(Wire({SERVER: _Sink()}, listen))
    return crossed
