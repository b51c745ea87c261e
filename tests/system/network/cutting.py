"""A TCP proxy that cuts connections: each after so many bytes, drawn at random, of one of its two ways."""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PIECE = 1 << 12
LIMITS = {"up": (9, 16), "down": (6, 10)}
"""Powers of two between which the bytes of a connection are drawn: requests are long and answers short."""


@dataclass
class Cuts:
    """What was cut so far, by the way on which the bytes were counted."""

    port: int
    made: Counter[str] = field(default_factory=Counter)


@contextmanager
def cutting(port: int, seed: int) -> Iterator[Cuts]:
    """Hands every connection on to a port of this machine, and cuts it, while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    cuts, generator = Cuts(listener.getsockname()[1]), random.Random(seed)
    opened: list[socket.socket] = [listener]
    threading.Thread(target=_accept, args=(listener, port, cuts, generator, opened), daemon=True).start()
    try:
        yield cuts
    finally:
        _end(*opened)


def _accept(
    listener: socket.socket, port: int, cuts: Cuts, generator: random.Random, opened: list[socket.socket]
) -> None:
    with suppress(OSError):
        while True:
            device, _ = listener.accept()
            server = socket.create_connection(("localhost", port))
            opened += [device, server]
            way = generator.choice(["up", "down"])
            limit = int(2 ** generator.uniform(*LIMITS[way]))
            for one, other, here in ((device, server, "up"), (server, device, "down")):
                left = limit if here == way else None
                threading.Thread(target=_pass, args=(one, other, left, here, cuts), daemon=True).start()


def _pass(one: socket.socket, other: socket.socket, left: int | None, way: str, cuts: Cuts) -> None:
    with suppress(OSError):
        while data := one.recv(PIECE):
            if left is not None and len(data) > left:
                other.sendall(data[:left])  # in the middle of a frame
                cuts.made[way] += 1
                break
            other.sendall(data)
            left = None if left is None else left - len(data)
    _end(one, other)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
