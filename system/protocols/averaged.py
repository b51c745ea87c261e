"""Devices that train beside others and go on from averages of what all have trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch

from ..data import Sample
from ..errors import UsageError
from ..federation import Drawn
from ..message import Message, Party
from ..roles import SERVER, Device
from ..wire import Wire
from .cut import CutDevice
from .protocol import Scene
from .split import Split

Turn = Iterator[None]
"""A step on a batch, in one exchange or more."""


def check_averages(every: int, patience: int) -> None:
    """UsageError where they are no interval of averages and no number of questions."""
    if every < 0:
        raise UsageError(f"every is {every}; give 0 or more batches between two averages")
    if patience < 1:
        raise UsageError(f"patience is {patience}; give at least 1 question")


class AveragedDevice(Device):
    """Sends what it trained to those who average after every round of steps, and waits for their averages."""

    _drawn: Drawn
    """Who takes part in a round; the others wait for its average."""

    @abstractmethod
    def state(self) -> dict[str, torch.Tensor]:
        """What is averaged, by name."""

    @abstractmethod
    def take(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from an average."""

    def rounds(
        self, wire: Wire, passes: Sequence[Sequence[Turn]], every: int, averagers: Mapping[Party, bool]
    ) -> Iterator[None]:
        """Take all turns, with an average after `every` of them, or after each pass where it is 0.

        `averagers` may get the device's own state, and average that, or hold what they average themselves.
        """
        # averages so far, as who averages says: a device that was given up on goes on where the others are
        reached = dict.fromkeys(averagers, 0)
        turns = [turn for one in passes for turn in one]
        size = every or len(passes[0])
        for start in range(0, len(turns), size):
            if self.party in self._drawn(max(reached.values(), default=0)):
                for turn in turns[start : start + size]:
                    yield from turn
                for party, own in averagers.items():
                    state = self.state() if own else {}
                    wire.request(Message("update", self.party, party, reached[party], tensors=state))
            yield from self._waited(wire, "fetch", averagers, reached)

    def leave(self, wire: Wire, averagers: Mapping[Party, bool]) -> Iterator[None]:
        """Tell those who average that this device is done, and wait until all are."""
        for party in averagers:
            wire.request(Message("leave", self.party, party))
        yield from self._waited(wire, "final", averagers, dict.fromkeys(averagers, 0))

    def _waited(
        self, wire: Wire, kind: str, averagers: Mapping[Party, bool], reached: dict[Party, int]
    ) -> Iterator[None]:
        """Wait until all devices have come as far, and go on from the averages."""
        for party, own in averagers.items():
            while (answer := wire.request(Message(kind, self.party, party, reached[party]))).kind == "wait":
                yield
            reached[party] = answer.round
            if own:
                self.take({name: answer.tensor(name, *tensor.shape) for name, tensor in self.state().items()})


class AveragedCutDevice(CutDevice, AveragedDevice):
    """Below a cut; at last it downloads the main server's part."""

    def __init__(
        self,
        party: Party,
        protocol: Split,
        scene: Scene,
        samples: tuple[Sample, ...],
        every: int,
        averagers: Mapping[Party, bool],
    ) -> None:
        super().__init__(party, protocol, scene, samples)
        self._every, self._averagers = every, averagers
        self._drawn = protocol.fleet.rounds(scene.samples, scene.common_streams)

    def work(self, wire: Wire) -> Iterator[None]:
        epochs = range(self._protocol.lora.epochs)
        passes = [[self.turn(wire, rows, epoch) for rows in self.even_batches()] for epoch in epochs]
        yield from self.rounds(wire, passes, self._every, self._averagers)
        yield from self.leave(wire, {SERVER: False, **self._averagers})
        self.download(wire)

    def turn(self, wire: Wire, rows: list[Sample], epoch: int) -> Turn:
        """One batch, in one exchange."""
        self.exchange(wire, rows, epoch)
        yield
