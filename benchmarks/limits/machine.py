"""What this machine can do, measured in the run whose figures are held against it: products, memory, loopback.

Rates are the best of several turns, since only what disturbs can make one lower. All is float32, with as many threads
as torch has at the time: one in the benchmarks of this room, since a server shares its cores among devices. Work of one
thread is timed by the processor's clock, which does not count what else the machine does; the socket by the wall's.
Arrays for memory are of ARRAY bytes; where the last cache is as large, the rate is that of the cache.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from ...system.side_network import SideShape
from ..timing import best

TURNS = 5
SQUARE = 1024
ARRAY = 256 << 20
WORTH = 2e8
"""Operations that a narrow product is repeated for, so that the clock sees it."""
SENT, CHUNK = 256 << 20, 1 << 20
"""Bytes over a loopback socket, and of one call."""
Product = tuple[int, int, int]
"""Rows of the first matrix, columns of it, columns of the second."""


@dataclass(frozen=True)
class Machine:
    """Rates, operations or bytes a second."""

    threads: int
    products: Mapping[str, float]
    """By shape, as m x k x n; a product of two numbers and its sum are two operations."""
    copying: float
    """Bytes read and written, one copying them."""
    reading: float
    socket: float

    @property
    def peak(self) -> float:
        """The highest rate of any product that was tried."""
        return max(self.products.values())


@contextmanager
def one_thread() -> Iterator[None]:
    """torch has one thread meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measured(shape: SideShape, batch: int) -> Machine:
    """Of the products of a side network's step and a large square."""
    shapes = [(SQUARE, SQUARE, SQUARE), *narrow(shape, batch)]
    products = {" x ".join(map(str, one)): product(one) for one in shapes}
    return Machine(torch.get_num_threads(), products, copying(), reading(), loopback())


def narrow(shape: SideShape, batch: int) -> list[Product]:
    """To the bottleneck, from it, and for a weight's gradient."""
    width, bottleneck = shape.width, shape.bottleneck
    return [(batch, width, bottleneck), (batch, bottleneck, width), (width, batch, bottleneck)]


def product(shape: Product) -> float:
    """Operations a second of a product, repeated until it lasts a few milliseconds."""
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(rows, inner, generator=generator), torch.randn(inner, columns, generator=generator)
    into, operations = torch.empty(rows, columns), 2 * rows * inner * columns
    times = max(1, int(WORTH) // operations)

    def work() -> None:
        for _ in range(times):
            torch.mm(left, right, out=into)

    return times * operations / best(work, 20)


def copying() -> float:
    source, into = torch.ones(ARRAY // 8), torch.zeros(ARRAY // 8)
    return 2 * source.nbytes / best(lambda: into.copy_(source), TURNS)


def reading() -> float:
    """By a sum, of which additions are the lesser work."""
    source = torch.ones(ARRAY // 4)
    return source.nbytes / best(source.sum, TURNS)


def loopback() -> float:
    """Bytes a second from one thread to another over TCP on the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            return SENT / best(lambda: _carry(ours, theirs), 3, time.perf_counter)


def _carry(ours: socket.socket, theirs: socket.socket) -> None:
    chunk, room = bytes(CHUNK), bytearray(CHUNK)

    def send() -> None:
        for _ in range(SENT // CHUNK):
            ours.sendall(chunk)

    sender = threading.Thread(target=send)
    sender.start()
    left = SENT
    while left:
        left -= theirs.recv_into(room)
    sender.join()
