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
    """Exact bytes and messages by (kind, sender, receiver); one thread counts, and others may read meanwhile."""

    bytes: Counter[tuple[str, Party, Party]] = field(default_factory=Counter)
    messages: Counter[tuple[str, Party, Party]] = field(default_factory=Counter)
    payload: Counter[tuple[str, Party, Party]] = field(default_factory=Counter)
    """Bytes of tensors alone."""

    def count(self, message: Message, size: int) -> None:
        key = (message.kind, message.sender, message.receiver)
        self.bytes[key] += size
        self.messages[key] += 1
        self.payload[key] += message.payload

    def sent_by(self, party: Party) -> int:
        """Bytes that a party sent."""
        return sum(size for (_, sender, _), size in list(self.bytes.items()) if sender == party)

    def received_by(self, party: Party) -> int:
        """Bytes that a party received."""
        return sum(size for (_, _, receiver), size in list(self.bytes.items()) if receiver == party)


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
        answer = self._carry(message, self._encoded(message))
        if (answer.sender, answer.receiver) != (message.receiver, message.sender):
            raise ProtocolError(f"{message.receiver} answered as {answer.sender} to {answer.receiver}")
        return answer

    def post(self, message: Message) -> None:
        """Send a message of which only the arrival matters; that it was refused is raised now or by a later call."""
        self.request(message)

    def _carry(self, message: Message, data: bytes) -> Message:
        """Take a message's bytes to its receiver, and read the answer from its bytes."""
        received = self._heard(decode(data), len(data))
        began = time.process_time()
        with torch.enable_grad():  # the sender's gradient mode is its own, as in another process
            answer = self._roles[message.receiver].handle(received)
        self.served[message.receiver] += time.process_time() - began
        answered = self._encoded(answer)
        return self._heard(decode(answered), len(answered))

    def _encoded(self, message: Message) -> bytes:
        """A message's bytes, with its place among the sender's messages of this kind."""
        key = (message.kind, message.sender)
        data = encode(replace(message, step=self._steps[key]))
        self._steps[key] += 1
        return data

    def _heard(self, message: Message, size: int) -> Message:
        """Count a message, and hand it on to whoever listens."""
        self.traffic.count(message, size)
        began = time.process_time()
        self._listener(message)
        self.listened += time.process_time() - began
        return message
