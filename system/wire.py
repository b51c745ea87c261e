"""The one door: every message crosses it as bytes, is counted, and is handed on to whoever listens."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch

from .errors import ProtocolError
from .message import Message, Party, decode, encode
from .roles import Role

Listener = Callable[[Message], None]
"""Called with each message as its receiver decoded it, in order."""


@dataclass
class Traffic:
    """Exact bytes and messages by (kind, sender, receiver)."""

    bytes: Counter[tuple[str, Party, Party]] = field(default_factory=Counter)
    messages: Counter[tuple[str, Party, Party]] = field(default_factory=Counter)

    def count(self, message: Message, size: int) -> None:
        key = (message.kind, message.sender, message.receiver)
        self.bytes[key] += size
        self.messages[key] += 1

    def sent_by(self, party: Party) -> int:
        """Bytes that a party sent."""
        return sum(size for (_, sender, _), size in self.bytes.items() if sender == party)

    def received_by(self, party: Party) -> int:
        """Bytes that a party received."""
        return sum(size for (_, _, receiver), size in self.bytes.items() if receiver == party)


class Wire:
    """Joins roles in one process; nothing passes but what the bytes hold."""

    def __init__(self, roles: Mapping[Party, Role], listener: Listener) -> None:
        self.traffic = Traffic()
        self.served: defaultdict[Party, float] = defaultdict(float)
        """CPU seconds that each party took to handle messages."""
        self.listened = 0.0
        """CPU seconds of whoever listens."""
        self._roles = roles
        self._listener = listener
        self._steps: Counter[tuple[str, Party]] = Counter()

    def request(self, message: Message) -> Message:
        """Send a message, return the receiver's answer, both as decoded from their bytes."""
        received = self._cross(message)
        began = time.process_time()
        with torch.enable_grad():  # the sender's gradient mode is its own, as in another process
            answer = self._roles[message.receiver].handle(received)
        self.served[message.receiver] += time.process_time() - began
        if (answer.sender, answer.receiver) != (message.receiver, message.sender):
            raise ProtocolError(f"{message.receiver} answered as {answer.sender} to {answer.receiver}")
        return self._cross(answer)

    def _cross(self, message: Message) -> Message:
        key = (message.kind, message.sender)
        data = encode(replace(message, step=self._steps[key]))
        self._steps[key] += 1
        received = decode(data)
        self.traffic.count(received, len(data))
        began = time.process_time()
        self._listener(received)
        self.listened += time.process_time() - began
        return received
