"""A device that sends every sample once: it announces all, sends those that the server wants, then only asks for
training, and downloads the side network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

import torch

from ..cache import Cache, MemoryCache
from ..data import Sample
from ..errors import ProtocolError
from ..message import Message, Party
from ..roles import SERVER, Device
from ..side_network import SideNetwork, from_state
from ..wire import Wire
from .batch_order import ordered
from .protocol import batches

MADE_AHEAD = 4
"""Messages whose samples are made together, before the first of them is sent."""
LOSSES = 8
"""Times in one epoch that a device sends again what its server has lost, or says it has."""


class OnceDevice(Device):
    """Its exchanges with a server that keeps what came in an activation cache."""

    def __init__(self, party: Party, samples: Sequence[Sample], order_seed: str, epochs: int, batch: int) -> None:
        """`order_seed` settles the order in which the server trains; `batch` is of samples in a message."""
        self.party = party
        self._by_id = {sample.id: sample for sample in samples}
        self._order_seed, self._epochs, self._batch = order_seed, epochs, batch
        self._kept: Cache = MemoryCache()
        self._side: SideNetwork | None = None

    def keep_in(self, cache: Cache) -> None:
        """Keep what was made in a cache, before anything is sent: it outlives the process where the cache does."""
        self._kept = cache

    def take(self, side: Mapping[str, torch.Tensor]) -> None:
        """Predict with a side network's weights."""
        self._side = from_state(side)

    @property
    def side(self) -> SideNetwork:
        """The side network that was taken; raises ProtocolError before."""
        if self._side is None:
            raise ProtocolError("the device has not downloaded a side network; run its work to the end first")
        return self._side

    def work(self, wire: Wire) -> Iterator[None]:
        announced = Message("samples", self.party, SERVER, sample_ids=tuple(sorted(self._by_id)))
        yield from self._send(wire, wire.request(announced).sample_ids)
        for epoch in range(self._epochs):
            yield from self._train(wire, epoch)
        self.take(wire.request(Message("download", self.party, SERVER)).tensors)

    def _send(self, wire: Wire, wanted: Sequence[str]) -> Iterator[None]:
        """Send samples that the server wants, in the order in which it first trains on them."""
        if strange := set(wanted) - self._by_id.keys():
            raise ProtocolError(f"the server wants {len(strange)} samples that the device does not have")
        order = [self._by_id[sample_id] for sample_id in ordered(self._order_seed, 0, self._by_id)]
        yield from self.contribute_all(wire, order, set(wanted))

    def contribute_all(self, wire: Wire, order: Sequence[Sample], wanted: Collection[str]) -> Iterator[None]:
        """Send the samples of an order that are wanted, message by message.

        After each message the device makes one pass for later ones, while a wire with a thread of its own sends it.
        """
        passes = self._passes(order, wanted)
        for some in batches([row for row in order if row.id in wanted], self._batch):
            while self._missing(some):
                self.make_together(next(passes))
            self.contribute(wire, some)
            for ahead in islice(passes, 1):
                self.make_together(ahead)
            yield

    def make(self, rows: Sequence[Sample]) -> None:
        """Make what is sent of samples and keep it, where it is not kept yet."""
        for some in self._passes(rows, {row.id for row in rows}):
            self.make_together(some)

    def _passes(self, order: Sequence[Sample], wanted: Collection[str]) -> Iterator[list[Sample]]:
        """The samples of which nothing is kept, as they go through the backbone: those of about equal length together.

        All of a pass are padded to the longest. Messages hold samples in their order, so that no server sees which were
        of a pass, but for what padding does to a number's last bits. Pools are of places among all: where what was made
        outlives a stop, the rest is passed on as it would have been.
        """
        for pool in batches(order, MADE_AHEAD * self._batch):
            new = self._missing([row for row in pool if row.id in wanted])
            fresh = sorted((row for row in pool if row.id in new), key=lambda row: len(row.text))
            yield from batches(fresh, self._batch)

    def _missing(self, rows: Sequence[Sample]) -> set[str]:
        return set(self._kept.missing(self.told, [row.id for row in rows]))

    def _train(self, wire: Wire, epoch: int) -> Iterator[None]:
        """Let the server train; what it has lost, or says it has, is sent again as it was."""
        for _ in range(LOSSES + 1):
            answer = wire.request(Message("train", self.party, SERVER, round=epoch))
            yield
            if not answer.sample_ids:
                return
            yield from self._send(wire, answer.sample_ids)
        raise ProtocolError(f"the server has lost samples of epoch {epoch} {LOSSES} times; look after its store")

    @property
    @abstractmethod
    def told(self) -> str:
        """The kind that follows a sample's activations, and is kept after them."""

    @abstractmethod
    def make_together(self, rows: Sequence[Sample]) -> None:
        """Make what is sent of samples in one pass, and keep it."""

    @abstractmethod
    def contribute(self, wire: Wire, rows: Sequence[Sample]) -> None:
        """Send samples of the device's own; those that were sent before, as they were."""
