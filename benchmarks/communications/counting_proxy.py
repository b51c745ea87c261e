"""A TCP proxy on this machine that counts what passes: all bytes of a connection, HTTP/2's and TLS's own among them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

PIECE = 1 << 16


@dataclass
class Counted:
    """Bytes that passed."""

    port: int
    up: int = 0
    """Towards the server."""
    down: int = 0


@contextmanager
def counting(port: int) -> Iterator[Counted]:
    """Hands every connection on to a port of this machine while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    counted = Counted(listener.getsockname()[1])
    opened: list[socket.socket] = [listener]
    threading.Thread(target=_accept, args=(listener, port, counted, opened), daemon=True).start()
    try:
        yield counted
    finally:
        for one in opened:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _accept(listener: socket.socket, port: int, counted: Counted, opened: list[socket.socket]) -> None:
    with suppress(OSError):
        while True:
            device, _ = listener.accept()
            server = socket.create_connection(("localhost", port))
            opened += [device, server]
            threading.Thread(target=_pass, args=(device, server, counted, "up"), daemon=True).start()
            threading.Thread(target=_pass, args=(server, device, counted, "down"), daemon=True).start()


def _pass(one: socket.socket, other: socket.socket, counted: Counted, way: str) -> None:
    with suppress(OSError):
        while data := one.recv(PIECE):
            other.sendall(data)
            setattr(counted, way, getattr(counted, way) + len(data))
        other.shutdown(socket.SHUT_WR)
