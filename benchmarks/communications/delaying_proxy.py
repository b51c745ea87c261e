"""A TCP proxy that delays what passes, holds some of it back as loss does, and may pass it at a rate.

Bytes that come at one time leave half a round trip later; of a segment that counts as lost, and of what follows it, a
whole one after that. Where no kernel shapes the rate, bytes leave one after another at it.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy

from .links import AROUND, SEGMENT, Link

PIECE = 1 << 14


@dataclass
class Way:
    """One direction of a connection."""

    link: Link
    rate: float
    """bit/s; 0 where something else shapes it."""
    generator: numpy.random.Generator
    waiting: queue.Queue[tuple[float, bytes]] = field(default_factory=queue.Queue)
    _leaves: float = 0.0
    _passed: float = 0.0

    def take(self, data: bytes) -> None:
        """What came now; nothing at all ends the way."""
        size = SEGMENT if self.link.loss or self.rate else PIECE
        for at in range(0, max(len(data), 1), size):
            piece = data[at : at + size]
            self.waiting.put((self._time(len(piece)), piece))

    def _time(self, size: int) -> float:
        """When a piece leaves: in order."""
        now = time.monotonic()
        if self.rate:
            self._passed = now = max(now, self._passed) + 8 * (size + AROUND) / self.rate
        lost = bool(self.link.loss) and self.generator.random() < self.link.loss
        self._leaves = max(self._leaves, now + self.link.round_trip * (0.5 + lost))
        return self._leaves

    def give(self, to: socket.socket) -> None:
        """Send what is due, until the way ends."""
        with suppress(OSError):
            while True:
                due, data = self.waiting.get()
                time.sleep(max(due - time.monotonic(), 0))
                if not data:
                    to.shutdown(socket.SHUT_WR)
                    return
                to.sendall(data)


@contextmanager
def delaying(port: int, host: str, link: Link, rated: bool, seed: int = 0) -> Iterator[int]:
    """Hands every connection on to a port of this machine while the block runs; gives its own port.

    `rated`: whether the proxy passes bytes at the link's rates.
    """
    listener = socket.create_server((host, 0))
    opened = [listener]
    generator = numpy.random.default_rng(seed)

    def accept() -> None:
        with suppress(OSError):
            while True:
                device, _ = listener.accept()
                server = socket.create_connection(("localhost", port))
                opened.extend((device, server))
                for one, other, rate in ((device, server, link.uplink), (server, device, link.downlink)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _start(one, other, Way(link, rate if rated else 0.0, generator.spawn(1)[0]))

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        for one in opened:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _start(one: socket.socket, other: socket.socket, way: Way) -> None:
    def read() -> None:
        with suppress(OSError):
            while data := one.recv(PIECE):
                way.take(data)
        way.take(b"")

    threading.Thread(target=read, daemon=True).start()
    threading.Thread(target=way.give, args=(other,), daemon=True).start()
