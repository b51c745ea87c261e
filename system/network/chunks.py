"""Messages as streams of bounded pieces, so that neither side ever holds more than it has agreed to."""

from __future__ import annotations

from collections.abc import Iterator

from . import network_pb2 as schema

PIECE = 1 << 18
"""Bytes of a piece."""
ROOM = PIECE + 1024
"""Bytes of the largest gRPC message either side takes: a piece and what stands around it."""


def pieces(data: bytes) -> Iterator[memoryview]:
    """The bytes in pieces; one empty piece where there are none."""
    view = memoryview(data)
    for start in range(0, max(len(view), 1), PIECE):
        yield view[start : start + PIECE]


def asked(data: bytes) -> Iterator[schema.Chunk]:
    """A request: the first piece says how long the whole is."""
    for at, piece in enumerate(pieces(data)):
        yield schema.Chunk(size=0 if at else len(data), data=bytes(piece))
