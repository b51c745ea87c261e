"""Federated LoRA: every device tunes the whole backbone on its own rows, and a federation server averages the updates.

No sample, state or label leaves a device; what leaves it is the update, averaged factor by factor.
Source: FedIT, arXiv 2305.05644, and its code, Shepherd; full tuning: FedAvg, arXiv 1602.05629.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ..data import Sample
from ..federation import FEDERATION, PATIENCE, Federation
from ..message import Party
from ..partial import load_tuned, tuned_state
from ..randomness import Streams
from ..roles import DEVICE, Device, Role
from ..wire import Wire
from .averaged import AveragedDevice, check_averages
from .fleet import Fleet
from .local import LocalLora
from .lora_training import LoraTraining
from .protocol import Protocol, Scene


@dataclass(frozen=True)
class FedLora(Protocol):
    """Training on the devices, with averages."""

    name: ClassVar[str] = "fedlora"
    title: ClassVar[str] = "Federated LoRA"
    source: ClassVar[str] = "FedIT, arXiv 2305.05644; arXiv 1602.05629"
    departures: ClassVar[tuple[str, ...]] = (
        "Classification: a head that starts from the verbaliser is trained and averaged with the updates; the source "
        "generates text.",
        "Averages are unweighted; the source weighs by rows, which a device could lie about.",
        "Every linear map of every block is tuned; the source tunes the queries' maps by default, with dropout.",
        "Every device takes part in every round unless `fleet.participation` says less; the source draws a tenth.",
        "Every device keeps the state of its optimiser over an average.",
        "With averages by batches a device with more rows goes on when the others have left: the last averages are its "
        "own.",
        "A device that waits asks again; its questions are counted as traffic.",
    )

    lora: LoraTraining = LoraTraining()
    every: int = 0
    """Batches of a device between two averages; 0 for a pass over its rows."""
    patience: int = PATIENCE
    """Times that a waiting device asks before a round ends without those who are missing."""
    fleet: Fleet = Fleet(devices=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fleet.check(self.every)
        check_averages(self.every, self.patience)

    @property
    def shows(self) -> Mapping[Party, frozenset[str]]:
        return {FEDERATION: frozenset({"update", "held:start", "held:average"})}

    @property
    def trains_on_device(self) -> bool:
        return True

    def facts(self, scene: Scene, device: Party = DEVICE) -> Mapping[str, Any]:
        return {}

    def parties(self, samples: Sequence[Sample], streams: Streams) -> Mapping[Party, tuple[Sample, ...]]:
        return self.fleet.deal(samples, streams)

    def servers(self, scene: Scene) -> Mapping[Party, Role]:
        first = FedLoraDevice(DEVICE, self, scene, ())  # without rows: all devices start from one state
        drawn = self.fleet.rounds(scene.samples, scene.streams)
        return {FEDERATION: Federation(tuple(scene.samples), first.state(), self.patience, drawn=drawn)}

    def device(self, scene: Scene, party: Party) -> Device:
        return FedLoraDevice(party, self, scene, scene.samples[party])


class FedLoraDevice(LocalLora, AveragedDevice):
    """Trains beside the others, and goes on from the average of all updates after every round."""

    def __init__(self, party: Party, protocol: FedLora, scene: Scene, samples: tuple[Sample, ...]) -> None:
        super().__init__(party, protocol, scene, samples)
        self._every, self._drawn = protocol.every, protocol.fleet.rounds(scene.samples, scene.streams)

    def work(self, wire: Wire) -> Iterator[None]:
        epochs = range(self._protocol.lora.epochs)
        passes = [[self.turn(rows, epoch) for rows in self.even_batches()] for epoch in epochs]
        yield from self.rounds(wire, passes, self._every, {FEDERATION: True})
        yield from self.leave(wire, {FEDERATION: True})

    def state(self) -> dict[str, torch.Tensor]:
        return {**tuned_state(self._model), "head": self._head.detach().clone(), "bias": self._bias.detach().clone()}

    def take(self, state: Mapping[str, torch.Tensor]) -> None:
        load_tuned(self._model, state)
        self._head.data, self._bias.data = state["head"].clone(), state["bias"].clone()
