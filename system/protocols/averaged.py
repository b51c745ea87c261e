"""A device that trains beside others and goes on from averages of what all have trained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from ..federation import FEDERATION
from ..message import Message, Party
from ..roles import Device
from ..wire import Wire

Step = Callable[[], None]


class AveragedDevice(Device):
    """Sends what it trained to those who average after every round of steps, and waits for their averages."""

    @abstractmethod
    def state(self) -> dict[str, torch.Tensor]:
        """What the federation server averages, by name."""

    @abstractmethod
    def take(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from an average."""

    def rounds(
        self,
        wire: Wire,
        passes: Sequence[Sequence[Step]],
        every: int,
        averagers: Sequence[Party],
        ends: Sequence[Party],
    ) -> Iterator[None]:
        """Take all steps, with averages by all of `averagers`; at last wait until all have left those in `ends`.

        `every` steps lie between two averages, or a pass over the rows where it is 0.
        """
        # averages so far, as who averages says: a device that was given up on goes on where the others are
        reached = dict.fromkeys(ends, 0)
        steps = [step for one in passes for step in one]
        size = every or len(passes[0])
        for start in range(0, len(steps), size):
            for step in steps[start : start + size]:
                step()
                yield
            for party in averagers:
                state = self.state() if party == FEDERATION else {}
                wire.request(Message("update", self.party, party, reached[party], tensors=state))
            yield from self._waited(wire, "fetch", averagers, reached)
        for party in ends:
            wire.request(Message("leave", self.party, party))
        yield from self._waited(wire, "final", ends, reached)

    def _waited(self, wire: Wire, kind: str, parties: Sequence[Party], reached: dict[Party, int]) -> Iterator[None]:
        """Wait until all devices have come as far, and go on from the average."""
        for party in parties:
            while (answer := wire.request(Message(kind, self.party, party, reached[party]))).kind == "wait":
                yield
            reached[party] = answer.round
            if party == FEDERATION:
                self.take({name: answer.tensor(name, *tensor.shape) for name, tensor in self.state().items()})
