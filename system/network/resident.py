"""A device's role on the server: one message at a time, and what must last is on the disk before its answer leaves."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch

from ..cache.store import ENDED, Area
from ..errors import ProtocolError, SidelightError
from ..message import Message, Party, decode, encode
from ..roles import SERVER, ResumableServer, Role

SAVE_EVERY = 1.0
"""Seconds between two saves of a training that goes on by itself."""


class NotJoined(SidelightError):
    """A device that has agreed on nothing yet, or whose run the server no longer has."""


class Answered(NamedTuple):
    """An answer's bytes, and how many samples it names."""

    data: bytes
    samples: int


class Together:
    """What the residents of one run share: one message at a time, and the places of answers among their kind."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.steps: Counter[tuple[str, Party]] = Counter()


class Resident:
    """A role with its lock, its area and, where it cannot repeat an answer by itself, its last one."""

    def __init__(self, device: str, role: Role, area: Area | None, together: Together | None = None) -> None:
        self.device, self.role, self._area = device, role, area
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._together = together or Together()
        self._last: tuple[bytes, Answered] | None = None
        self._taken: dict[str, int] = {}
        self._saved = 0.0
        self.used = time.monotonic()
        self._users, self._gone = 0, False
        self.progress = (0, 0)
        """Batches trained on, and all, when a batch was over last."""
        if isinstance(role, ResumableServer) and area is not None:
            role.keep_in(area.cache)
            if state := area.load_state():
                role.load(state)
                self._tell_whether_ended(role, area)
            self.progress = role.progress

    def end(self) -> None:
        """From now on nothing here touches the area: what goes on is waited for, what comes later is refused."""
        with self._lock:
            self._gone, self._area = True, None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps the role in memory: it is only ever in one place."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Count a user; waits for no training."""
        with self._counting:
            self._users += 1
            self.used = time.monotonic()

    def leave(self) -> None:
        """Count one user less; waits for no training."""
        with self._counting:
            self._users -= 1

    @property
    def busy(self) -> bool:
        """Whether anybody uses it."""
        return self._users > 0

    def answer(self, data: bytes, message: Message) -> Answered:
        """The answer to a message that came as these bytes; one that came already is not taken twice."""
        with self.in_use(), self._lock:
            if self._gone:
                raise NotJoined("the run of this device has ended meanwhile; join it, from the beginning")
            if isinstance(self.role, ResumableServer):
                answer = self._encoded(self.role.handle(message))
                self._save()
                return answer
            asked = hashlib.sha256(data).digest()
            if self._last is None or self._last[0] != asked:
                self._require_new(message)
                with self._together.lock, torch.enable_grad():
                    self._last = asked, self._encoded(self.role.handle(message))
                self._taken[message.kind] = message.step
            return self._last[1]

    def _require_new(self, message: Message) -> None:
        """A device counts its messages of a kind; raises ProtocolError for one that was late, and overtaken."""
        if message.step <= self._taken.get(message.kind, -1):
            raise ProtocolError("this message, or one sent after it, was taken already; go on with the next one")

    def due(self, message: Message) -> bool:
        """Whether a message can be answered without more training; waits for none."""
        return not isinstance(self.role, ResumableServer) or self.role.due(message)

    def train(self, seconds: float) -> bool:
        """Train for about so long; whether there is more to do."""
        until = time.monotonic() + seconds
        with self._lock:
            role = self.role
            if self._gone or not isinstance(role, ResumableServer):
                return False
            while more := role.step():
                self.progress = role.progress
                if time.monotonic() >= until:
                    break
            if not more or time.monotonic() - self._saved >= SAVE_EVERY:
                self._save()
            return more

    def _encoded(self, answer: Message) -> Answered:
        """An answer with its place among those of its kind, as on a wire in one process."""
        key, steps = (answer.kind, answer.sender), self._together.steps
        data = encode(replace(answer, step=steps[key]))
        steps[key] += 1
        return Answered(data, len(answer.sample_ids))

    def _save(self) -> None:
        role = self.role
        if not isinstance(role, ResumableServer) or not role.unsaved or self._area is None:
            return
        self._area.save_state(role.state())
        role.unsaved, self._saved = False, time.monotonic()
        self._tell_whether_ended(role, self._area)

    @staticmethod
    def _tell_whether_ended(role: ResumableServer, area: Area) -> None:
        """Keep beside the area whether its training has ended: its samples may be evicted then."""
        done, total = role.progress
        about = area.about
        if about.get(ENDED, False) != (0 < total == done):
            area.record({**about, ENDED: 0 < total == done})


def received(data: bytes, most_values: int) -> Message:
    """A device's message; raises ProtocolError where it is none, or comes from no device."""
    message = decode(data, most_values)
    if message.sender in (message.receiver, SERVER):
        raise ProtocolError("a server's name is no sender's on this side; send as a device")
    return message
