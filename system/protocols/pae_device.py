"""The device of PAE MobiLLM: one pass of the frozen backbone a sample, and what it sends of it.

Shapes: B samples of a message, N blocks, L layers that cross, d width, k values of a layer, D values of a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch

from ..backbone import Backbone
from ..data import Sample
from ..defences.accounting import Ledger
from ..defences.defence import Defence
from ..defences.guard import decoys
from ..forward import over_texts
from ..message import Message, Party
from ..randomness import Streams
from ..roles import SERVER
from ..side_network import SideNetwork
from ..wire import Wire
from .once import OnceDevice
from .protocol import Scene
from .tuned import Pivots, Tuned

if TYPE_CHECKING:
    from .pae import PAE

ACTIVATIONS = "activations"


def body(defences: Iterable[Defence], backbone: Backbone) -> Backbone:
    """The backbone that a device runs."""
    for defence in defences:
        backbone = defence.body(backbone)
    return backbone


class PAEDevice(OnceDevice):
    """Runs the frozen backbone once a sample; downloads the side network, merges and predicts."""

    def __init__(self, party: Party, protocol: PAE, scene: Scene, samples: tuple[Sample, ...]) -> None:
        made_up = decoys(protocol.defences, samples, len(scene.labels), scene.streams, party)
        self._samples = (*samples, *made_up)
        super().__init__(party, self._samples, scene.server_streams.seed, protocol.side.epochs, protocol.batch)
        self._protocol, self.backbone = protocol, body(protocol.defences, scene.backbone)
        self.guard, self.cover = protocol.guard(scene), protocol.cover(scene)
        own = protocol.targets(scene, party, samples)
        self._targets = {**own, **{sample.id: target for sample, target in made_up.items()}}
        self.draw_from(scene.streams)
        self._ledger = Ledger()
        self.states = self._pivots
        """What the device computes of texts: (B, N, d)."""

    def draw_from(self, streams: Streams) -> None:
        """Draw noise from streams that were never drawn from: a process that goes on from another's must not repeat."""
        self._noise = streams.torch(f"{self.party}:noise")
        self._blur = streams.torch(f"{self.party}:activation noise")

    @property
    def releases(self) -> int:
        return self._ledger.releases

    def contribute(self, wire: Wire, rows: Sequence[Sample]) -> None:
        """Send samples of the device's own; those that were sent before, as they were.

        What is sent, (B, L, k) and (B, D), is kept before any of it crosses, and sent again as it was while it is kept:
        fresh noise on a sample would be another release, and is one in another run or where the control `fresh_noise`
        asks for it.
        """
        ids, own = tuple(row.id for row in rows), self._protocol.precision
        self.make(rows)
        sent, told = self._kept.rows(ACTIVATIONS, ids), self._kept.rows(self.told, ids)
        if self._protocol.defences:
            for parts in zip(ids, sent, told, strict=True):
                self._ledger.charge(*parts)
        for kind, tensor, precision in (
            (ACTIVATIONS, sent, self.cover.precision(own)),
            (self.told, told, own),
        ):
            tensors = {kind: tensor}
            wire.post(Message(kind, self.party, SERVER, sample_ids=ids, tensors=tensors, precision=precision))
        if self._protocol.fresh_noise:
            self._kept.forget(ids)

    @torch.no_grad()
    def make_together(self, rows: Sequence[Sample]) -> None:
        pivots = self.states([row.text for row in rows])
        labels = torch.tensor([self._targets[row.id] for row in rows])
        self._keep(rows, self._sent(pivots), self._told(pivots, labels))

    def _keep(self, rows: Sequence[Sample], sent: torch.Tensor, told: torch.Tensor) -> None:
        ids, own = [row.id for row in rows], self._protocol.precision
        halves = set(ids) - set(self._kept.missing(ACTIVATIONS, ids))
        self._kept.forget(halves)  # a crash between the two: nothing of such a sample has crossed
        self._kept.put(ACTIVATIONS, ids, sent, self.cover.precision(own))
        self._kept.put(self.told, ids, told, own)

    def _sent(self, pivots: torch.Tensor) -> torch.Tensor:
        """What crosses (B, L, k) of pivots (B, N, d)."""
        return self.cover.sent(pivots, self._blur)

    @property
    def told(self) -> str:
        return "difference"

    def _told(self, pivots: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What the server is told of labels (B,) beside pivots (B, N, d): (B, ...)."""
        return self.guard.difference(self.backbone, pivots[:, -1], labels, self._noise)

    @torch.no_grad()
    def predict(self, texts: list[str]) -> torch.Tensor:
        side = self.tuned.side
        return over_texts(lambda some: self._scores(side, self._pivots(some)), texts)

    def _scores(self, side: SideNetwork, pivots: torch.Tensor) -> torch.Tensor:
        return self._merged(side).scores(pivots)

    def _pivots(self, texts: list[str]) -> torch.Tensor:
        return self._positions.of(self.backbone, texts)

    @property
    def tuned(self) -> Tuned:
        """Backbone and downloaded side network; ProtocolError where nothing was downloaded."""
        return self._merged(self.side)

    def _merged(self, side: SideNetwork) -> Tuned:
        return Tuned(self.backbone, self._positions, self.cover.tapping, self.guard.reading, side)

    @property
    def _positions(self) -> Pivots:
        return Pivots(self._protocol.longest, self._protocol.prompt, self._protocol.selector)
