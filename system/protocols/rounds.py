"""A device that trains beside others and goes on from averages after every round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..data import Sample
from ..message import Message, Party
from ..roles import SERVER
from ..wire import Wire
from .cut import CutDevice
from .protocol import Scene
from .split import Split


class RoundsDevice(CutDevice):
    """Sends what it trained to whoever averages, waits until all have come as far, and goes on from the average."""

    def __init__(
        self,
        party: Party,
        protocol: Split,
        scene: Scene,
        samples: tuple[Sample, ...],
        every: int,
        averagers: Mapping[Party, bool],
    ) -> None:
        """`every` batches are a round, 0 for a pass; `averagers` may get the device's own updates, and average them."""
        super().__init__(party, protocol, scene, samples)
        self._every, self._averagers = every, averagers
        self._rounds = dict.fromkeys(averagers, 0) | {SERVER: 0}
        """Averages so far, as who averages says: a device that was given up on goes on where the others are."""

    def work(self, wire: Wire) -> Iterator[None]:
        protocol = self._protocol
        steps = [(epoch, rows) for epoch in range(protocol.lora.epochs) for rows in self.even_batches()]
        every = self._every or len(steps) // protocol.lora.epochs
        for start in range(0, len(steps), every):
            for epoch, rows in steps[start : start + every]:
                yield from self.step(wire, rows, epoch)
            for party, whole in self._averagers.items():
                state = self.state() if whole else {}
                wire.request(Message("update", self.party, party, self._rounds[party], tensors=state))
            yield from self._waited(wire, "fetch", list(self._averagers))
        everyone = list(dict.fromkeys([*self._averagers, SERVER]))
        for party in everyone:
            wire.request(Message("leave", self.party, party))
        yield from self._waited(wire, "final", everyone)
        self.download(wire)

    def step(self, wire: Wire, rows: list[Sample], epoch: int) -> Iterator[None]:
        """One batch, in one exchange."""
        self.exchange(wire, rows, epoch)
        yield

    def _waited(self, wire: Wire, kind: str, parties: Sequence[Party]) -> Iterator[None]:
        """Wait until all devices have come as far, and go on from the average of what this one sent."""
        for party in parties:
            while (answer := wire.request(Message(kind, self.party, party, self._rounds[party]))).kind == "wait":
                yield
            self._rounds[party] = answer.round
            if self._averagers.get(party):
                self.take({name: answer.tensor(name, *tensor.shape) for name, tensor in self.state().items()})
