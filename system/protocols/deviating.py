"""A server that deviates from the protocol where its devices cannot tell: it says that it has lost what it has.

Devices of `PAE` send again what the server says is not there, so that a crash costs nothing. This server asks for every
sample again, so often as it was told to, at most LOSSES times in an epoch, and trains on what came first, as the honest
one would have done. All else it leaves to that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch

from ..message import Message
from ..roles import Role, Server
from .once import LOSSES


class DeviatingServer(Server):
    """An honest server behind one that lies."""

    def __init__(self, honest: Role, claims: int) -> None:
        self._honest, self._left = honest, claims
        self._announced: tuple[str, ...] = ()
        self._claimed: Counter[int] = Counter()
        """Claims in each epoch."""
        self._passed_on: set[tuple[str, str]] = set()
        """Kinds and samples that the honest server has."""

    def handle(self, message: Message) -> Message:
        if message.kind == "train":
            return self._trained(message)
        if not message.tensors:
            self._announced = message.sample_ids or self._announced
            return self._honest.handle(message)
        new = {(message.kind, sample_id) for sample_id in message.sample_ids} - self._passed_on
        if not new:
            return self.answer(message, "ready")
        self._passed_on |= new
        return self._honest.handle(message)

    def _trained(self, message: Message) -> Message:
        if not self._left or self._claimed[message.round] == LOSSES:
            return self._honest.handle(message)
        self._left -= 1
        self._claimed[message.round] += 1
        return self.answer_ids(message, "wanted", self._announced)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return self._honest.held()
