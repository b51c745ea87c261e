"""The party that averages what devices train: federated averaging, round by round, without ever seeing a sample.

Every update counts the same, whatever a device says of its size. A round ends when every active device has sent its
update, or when one that has sent its own asked too often after the others; who comes late, twice or with something else
than was asked for changes nothing for the others, and is noted. Who was given up on may come back; who left may not.
There is no clock: a device that asks without end ends a round without the others, as if they had vanished.
Source: FedAvg, arXiv 1602.05629, Algorithm 1, unweighted as in the code of SplitFed (arXiv 2004.12088).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch

from .errors import ProtocolError
from .low_rank import factors_mean
from .message import Message, Party
from .roles import Role

FEDERATION: Party = "federation"
PATIENCE = 10_000
"""Times that a waiting device asks before a round ends without those who are missing."""

LARGEST = 1e6
"""No value of an honest device lies beyond it; products and squares of far larger ones end all training."""

Incident = Literal["absent", "malformed", "repeated", "stale"]
State = Mapping[str, torch.Tensor]
Mean = Callable[[Sequence[State]], State]
Drawn = Callable[[int], frozenset[Party]]
"""Who takes part in a round, by the round's number."""


class Federation(Role):
    """Averages the updates of its members."""

    party = FEDERATION

    def __init__(
        self,
        members: Sequence[Party],
        start: State,
        patience: int = PATIENCE,
        mean: Mean = factors_mean,
        drawn: Drawn | None = None,
    ) -> None:
        """`drawn` names those who take part in a round; all, where it is None."""
        self._active, self._members = set(members), frozenset(members)
        self._given_up: set[Party] = set()
        self._start = {name: tensor.detach().clone() for name, tensor in start.items()}
        self._average = dict(self._start)
        self._updates: dict[Party, State] = {}
        self._round = 0
        self._asked: Counter[Party] = Counter()
        self._patience, self._mean = patience, mean
        self._drawn = drawn or (lambda _round: self._members)
        self._incidents: Counter[str] = Counter()

    def handle(self, message: Message) -> Message:
        if message.sender not in self._members:
            raise ProtocolError(f"{message.sender} is no member of this federation")
        if message.kind == "update":
            self._take(message)
            return self._answer(message, "ready")
        if message.kind == "leave":
            self._active.discard(message.sender)
            self._given_up.discard(message.sender)
            self._close_if_complete()
            return self._answer(message, "ready")
        if message.kind in ("fetch", "final"):
            return self._give(message)
        raise ProtocolError(f"a federation server takes no message of kind {message.kind!r}")

    def incidents(self) -> Mapping[str, int]:
        return dict(self._incidents)

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        """`start` and `average`: what all devices began from, and what they ended with."""
        return {"start": dict(self._start), "average": {name: tensor.clone() for name, tensor in self._average.items()}}

    def _take(self, message: Message) -> None:
        wrong = self._wrong(message)
        if wrong is not None:
            self._note(message.sender, wrong)
            return
        self._updates[message.sender] = message.tensors
        self._active.add(message.sender)
        self._given_up.discard(message.sender)
        self._close_if_complete()

    def _wrong(self, message: Message) -> Incident | None:
        expected = (self._active | self._given_up) & self._drawn(self._round)
        if message.round != self._round or message.sender not in expected:
            return "stale"
        if message.sender in self._updates:
            return "repeated"
        if message.tensors.keys() != self._average.keys():
            return "malformed"
        try:
            found = [message.tensor(name, *tensor.shape) for name, tensor in self._average.items()]
        except ProtocolError:
            return "malformed"
        honest = all(tensor.is_floating_point() and bool((tensor.abs() <= LARGEST).all()) for tensor in found)
        return None if honest else "malformed"

    def _note(self, party: Party, incident: Incident) -> None:
        self._incidents[f"{party} {incident}"] += 1

    def _give(self, message: Message) -> Message:
        """The average, once what the device waits for is over: a round, or all training."""
        if message.kind == "fetch" and message.sender in self._given_up:  # it is there again
            self._given_up.discard(message.sender)
            self._active.add(message.sender)
        if not self._over(message):
            late = (self._active if message.kind == "final" else self._awaited) - self._updates.keys()
            self._asked[message.sender] += message.sender not in late
            if self._asked[message.sender] > self._patience:
                self._give_up(late)
        if not self._over(message):
            return self._answer(message, "wait")
        return self._answer(message, "average", self._average)

    def _over(self, message: Message) -> bool:
        return message.round < self._round if message.kind == "fetch" else not self._active

    @property
    def _awaited(self) -> set[Party]:
        """Those whose updates end the round."""
        return self._active & self._drawn(self._round)

    def _give_up(self, missing: set[Party]) -> None:
        """Go on without those who are missing; where nobody is left of a round, with the average as it is."""
        for party in missing:
            self._note(party, "absent")
        self._active -= missing
        self._given_up |= missing
        self._asked.clear()
        if self._updates:
            self._close_if_complete()
        elif self._active:
            self._round += 1

    def _close_if_complete(self) -> None:
        """End the round when nobody is missing."""
        if not self._updates or not self._awaited <= self._updates.keys():
            return
        self._average = dict(self._mean(list(self._updates.values())))
        self._updates = {}
        self._round += 1
        self._asked.clear()

    def _answer(self, message: Message, kind: str, tensors: State | None = None) -> Message:
        return Message(kind, self.party, message.sender, self._round, tensors=tensors or {})
