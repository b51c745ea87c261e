"""What a party met in a run, met again: every message as its bytes, and every answer compared with the one it gave."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from os import SEEK_CUR
from typing import BinaryIO

import torch

from ..system.errors import ProtocolError
from ..system.message import Message, Party, decode, encode
from ..system.roles import Device, Role
from ..system.wire import Wire

FRAME = struct.Struct("<16s16sQ")
"""Before each message's bytes: its sender, its receiver, and how many bytes there are."""
OVER = "download"
"""The message with which a device ends its training."""


def keep(file: BinaryIO, message: Message) -> None:
    """Write a message behind those before it."""
    data = encode(message)
    file.write(FRAME.pack(message.sender.encode(), message.receiver.encode(), len(data)) + data)


def replay(role: Role, past: Past) -> None:
    """Let a role meet its messages, in order, to the end of training."""
    if not isinstance(role, Device):
        while (message := past.next_received()) is not None:
            with torch.enable_grad():
                past.check(role.handle(message))
        return
    work = role.work(past)
    try:
        while next(work, StopIteration) is not StopIteration:
            while past.asked():  # by another device
                message = past.next_received()
                assert message is not None
                past.check(role.handle(message))
    except Over:
        return


class Over(Exception):
    """Training is over."""


class Past(Wire):
    """A wire on which everything has happened already: what a party sends is compared, what it received comes."""

    def __init__(self, party: Party, file: BinaryIO) -> None:
        super().__init__({}, lambda _message: None)
        self._party, self._frames = party, self._own(file)
        self._next: Message | None = next(self._frames, None)

    def request(self, message: Message) -> Message:
        if message.kind == OVER:
            raise Over
        self.check(message)
        answer = self.next_received()
        if answer is None:
            raise ProtocolError(f"{self._party} was never answered")
        return answer

    def check(self, message: Message) -> None:
        """Raise ProtocolError unless the party sent the same bytes in the run."""
        sent = self._taken()
        if sent is None or encode(replace(message, step=sent.step)) != encode(sent):
            raise ProtocolError(f"{self._party} sends another {message.kind} alone than it sent in the run")

    def next_received(self) -> Message | None:
        """What came next in the run; None at its end."""
        return self._taken()

    def asked(self) -> bool:
        """Whether what came next was a question of another party's."""
        return self._next is not None and self._next.receiver == self._party

    def _taken(self) -> Message | None:
        found, self._next = self._next, next(self._frames, None)
        return found

    def _own(self, file: BinaryIO) -> Iterator[Message]:
        while head := file.read(FRAME.size):
            *parties, size = FRAME.unpack(head)
            if self._party.encode() in (name.rstrip(b"\0") for name in parties):
                yield decode(file.read(size))
            else:
                file.seek(size, SEEK_CUR)
