"""Canaries sent through a device's own code: which of two inputs it was given is to be guessed from what crossed.

Shapes: n canaries, N blocks, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...system.data import Sample
from ...system.message import Message
from ...system.protocols import Scene
from ...system.protocols.pae import PAE, PAEDevice
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER, Server
from ...system.wire import Wire

PAIRS = 10_000
SENDS = 4
"""Times that each canary is sent: what is kept crosses unchanged, and fresh noise or labels are averaged."""
AT_ONCE = 1000
"""Canaries of one device."""


class Side(NamedTuple):
    """What a device may be given: the backbone's states (N, d) and a class."""

    states: torch.Tensor
    label: int


@dataclass(frozen=True)
class Canaries:
    """A device with canaries for samples: the first or the second of two inputs, by coin."""

    protocol: PAE
    device: PAEDevice
    samples: tuple[Sample, ...]
    coins: torch.Tensor
    """(n,) bool: true for the second input."""


class _Sink(Server):
    def handle(self, message: Message) -> Message:
        return self.answer(message, "ready")


def drawn(protocol: PAE, scene: Scene, sides: tuple[Side, Side], streams: Streams, pairs: int) -> Iterator[Canaries]:
    """Devices that hold what coins chose of two inputs, each with keys and noise of its own."""
    for start in range(0, pairs, AT_ONCE):
        own = streams.of(str(start))
        coins = torch.rand(min(AT_ONCE, pairs - start), generator=own.torch("coins")) < 0.5
        samples = canary_samples(coins, [scene.labels[side.label] for side in sides])
        device = protocol.device(Scene(scene.backbone, scene.labels, {DEVICE: samples}, own), DEVICE)
        assert isinstance(device, PAEDevice)
        device.states = lambda texts: torch.stack([sides[int(text)].states for text in texts])
        yield Canaries(protocol, device, samples, coins)


def canary_samples(coins: torch.Tensor, labels: Sequence[str]) -> tuple[Sample, ...]:
    """For each coin a sample whose text is its side's number."""
    return tuple(Sample(f"{i:016x}", str(side), labels[side], ()) for i, side in enumerate(coins.int().tolist()))


def sent(canaries: Canaries, times: int) -> dict[str, torch.Tensor]:
    """What crosses of canaries (n, ...) by kind, in the mean over as many times as they are sent."""
    crossed: dict[str, torch.Tensor] = {}

    def listen(message: Message) -> None:
        if message.sender == DEVICE:
            found = message.tensors[message.kind].double() / times
            crossed[message.kind] = crossed.get(message.kind, 0) + found

    wire = Wire({SERVER: _Sink()}, listen)
    for _ in range(times):
        canaries.device.contribute(wire, canaries.samples)
    return crossed
