"""The party that averages what devices train: federated averaging, round by round, without ever seeing a sample.

Every device counts the same, whatever it says of its size. A round ends when every active device has sent its update,
or when one that waits has asked too often; who came late, twice or with something else than was asked for changes
nothing for the others, and is noted.
Source: FedAvg, arXiv 1602.05629, Algorithm 1, unweighted as in the code of SplitFed (arXiv 2004.12088).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from .errors import ProtocolError
from .message import Message, Party
from .roles import Role

FEDERATION: Party = "federation"
PATIENCE = 10_000
"""Times that a waiting device asks before a round ends without those who are missing."""

Incident = Literal["absent", "malformed", "repeated", "stale"]
State = Mapping[str, torch.Tensor]


class Federation(Role):
    """Averages the updates of its members."""

    party = FEDERATION

    def __init__(self, members: Sequence[Party], start: State, patience: int = PATIENCE) -> None:
        self._active, self._members = set(members), frozenset(members)
        self._average = {name: tensor.detach().clone() for name, tensor in start.items()}
        self._updates: dict[Party, State] = {}
        self._round = 0
        self._asked: Counter[Party] = Counter()
        self._patience = patience
        self.incidents: Counter[tuple[Party, Incident]] = Counter()
        """How often each device did what no honest one does."""

    def handle(self, message: Message) -> Message:
        if message.sender not in self._members:
            raise ProtocolError(f"{message.sender} is no member of this federation")
        if message.kind == "update":
            self._take(message)
            return self._answer(message, "ready")
        if message.kind == "leave":
            self._active.discard(message.sender)
            self._close_if_complete()
            return self._answer(message, "ready")
        if message.kind == "fetch":
            return self._give(message, over=message.round < self._round)
        if message.kind == "final":
            return self._give(message, over=not self._active)
        raise ProtocolError(f"a federation server takes no message of kind {message.kind!r}")

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        return {"average": {name: tensor.clone() for name, tensor in self._average.items()}}

    def _take(self, message: Message) -> None:
        wrong = self._wrong(message)
        if wrong is not None:
            self.incidents[message.sender, wrong] += 1
            return
        self._updates[message.sender] = message.tensors
        self._active.add(message.sender)  # who was given up on may come back
        self._close_if_complete()

    def _wrong(self, message: Message) -> Incident | None:
        if message.round != self._round:
            return "stale"
        if message.sender in self._updates:
            return "repeated"
        shapes = {name: tensor.shape for name, tensor in message.tensors.items()}
        expected = {name: tensor.shape for name, tensor in self._average.items()}
        if shapes != expected or not all(tensor.isfinite().all() for tensor in message.tensors.values()):
            return "malformed"
        return None

    def _give(self, message: Message, over: bool) -> Message:
        """The average, once what the device waits for is over: a round, or all training."""
        if not over:
            self._asked[message.sender] += 1
            if self._asked[message.sender] <= self._patience:
                return self._answer(message, "wait")
            for missing in self._active - self._updates.keys():
                self.incidents[missing, "absent"] += 1
            self._active &= self._updates.keys()
            self._close()
        return self._answer(message, "average", self._average)

    def _close_if_complete(self) -> None:
        """End the round when no active device is missing."""
        if self._updates and self._active <= self._updates.keys():
            self._close()

    def _close(self) -> None:
        if self._updates:
            states = list(self._updates.values())
            self._average = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
        self._updates = {}
        self._round += 1
        self._asked.clear()

    def _answer(self, message: Message, kind: str, tensors: State | None = None) -> Message:
        return Message(kind, self.party, message.sender, self._round, tensors=tensors or {})
