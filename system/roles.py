"""The parties: a device knows only its own data and key; a server is driven by messages alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from .errors import ProtocolError
from .message import Message, Party

if TYPE_CHECKING:
    from .cache import Cache
    from .wire import Wire

SERVER: Party = "server"


def device_name(number: int) -> Party:
    """A device's name, by its number from 0."""
    return f"device-{number}"


def device_number(name: Party) -> int:
    """A device's number, by its name; raises ValueError where that is no device's."""
    return int(name.removeprefix("device-"))


DEVICE = device_name(0)
"""The first device; the only one, where there are no more."""


class Role(ABC):
    """A party that answers messages."""

    party: Party

    def handle(self, message: Message) -> Message:
        """Answer a message; a party that expects none refuses it."""
        raise ProtocolError(f"{self.party} takes no message of kind {message.kind!r}")

    def held(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        """What the party holds itself at the end of a run, by name: part of its view."""
        return {}

    def incidents(self) -> Mapping[str, int]:
        """How often which party did what no honest one does, as far as this one noticed."""
        return {}


class Server(Role):
    """A role driven by messages alone."""

    party = SERVER

    def answer(self, message: Message, kind: str, **tensors: torch.Tensor) -> Message:
        """An answer to a message, in its round, at full precision."""
        return Message(kind, self.party, message.sender, message.round, tensors=tensors)

    def answer_ids(self, message: Message, kind: str, sample_ids: tuple[str, ...]) -> Message:
        """An answer that names samples."""
        return Message(kind, self.party, message.sender, message.round, sample_ids=sample_ids)


class ResumableServer(Server):
    """A server that one device drives, whose work goes on in another process where this one's broke off.

    What it learned lies in a cache and in `state`. Whoever hosts it saves the state before an answer leaves, where it
    is `unsaved`, and may let it take steps while no message is there.
    """

    unsaved: bool = False
    """Whether something that must not be lost has changed since the state was last saved."""

    @abstractmethod
    def keep_in(self, cache: Cache) -> None:
        """Keep samples in a cache, before any message comes."""

    @abstractmethod
    def step(self) -> bool:
        """Do a part of the work that needs no message; False where there is none to do."""

    @abstractmethod
    def due(self, message: Message) -> bool:
        """Whether a message can be answered now; otherwise steps come first, as long as there are any."""

    @property
    @abstractmethod
    def progress(self) -> tuple[int, int]:
        """Parts of the work that are done, and all."""

    @abstractmethod
    def state(self) -> dict[str, torch.Tensor]:
        """Copies of what another process needs, beside the cache, to go on bit for bit."""

    @abstractmethod
    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state; raises KeyError or RuntimeError where it is another role's."""


class Device(Role):
    """A role that owns data, starts every exchange and ends with the tuned model."""

    pace: float = 1.0
    """Exchanges in a unit of time, which orders what several devices do."""

    @property
    def releases(self) -> int:
        """How often a sample was sent with bytes of its own, at most: what was sent again as it was does not count."""
        return 1

    @abstractmethod
    def work(self, wire: Wire) -> Iterator[None]:
        """Fine-tune; yields after every exchange, so that a scheduler can interleave devices."""

    @abstractmethod
    def predict(self, texts: list[str]) -> torch.Tensor:
        """Class scores (texts, classes) of the tuned model, computed on the device."""
