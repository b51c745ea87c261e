"""How many bytes a message has, from the schema (system/message.proto) and the encoding of protocol buffers alone.

Nothing is encoded, and nothing of the code that encodes is used. A field takes one byte for its number, a varint for a
length, and its content; fields that are 0 or empty are left out. (protobuf.dev/programming-guides/encoding)

Values: fp32 4 bytes, fp16 and bf16 2, int8 1, int4 a half, int2 a quarter, and of these integers 2 bytes of scale for
each 64 values of a vector; whole numbers 8 bytes, 4 or 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

ID = 8
"""Bytes of a sample's id."""
RUN = 64
"""Values that share a scale."""
VALUE = {
    "fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "int4": 0.5, "int2": 0.25, "int64": 8, "int32": 4, "uint16": 2,
}  # fmt: skip
SCALED = ("int8", "int4", "int2")


def varint(number: int) -> int:
    """Bytes of a whole number from 0: seven bits a byte."""
    return max(ceil(number.bit_length() / 7), 1)


def field(size: int) -> int:
    """Bytes of a field with a content of so many."""
    return 1 + varint(size) + size if size else 0


def number(value: int) -> int:
    """Bytes of a field that is a whole number."""
    return 1 + varint(value) if value else 0


def numbers(count: int) -> int:
    """Bytes of that field in messages that are numbered from 0."""
    found, least = 0, 1
    while least < count:
        most = min(128 ** varint(least), count)
        found += (most - least) * number(least)
        least = most
    return found


@dataclass(frozen=True)
class Tensor:
    """A tensor as it crosses: `form` is a key of VALUE."""

    name: str
    shape: tuple[int, ...]
    form: str

    @property
    def values(self) -> int:
        """Bytes of the values alone."""
        return ceil(prod(self.shape) * VALUE[self.form])

    @property
    def scales(self) -> int:
        """Bytes of their scales."""
        last = self.shape[-1] if self.shape else 1
        return 2 * (prod(self.shape) // last) * ceil(last / RUN) if self.form in SCALED else 0

    @property
    def payload(self) -> int:
        """Bytes that no envelope could save."""
        return self.values + self.scales

    @property
    def record(self) -> int:
        """Bytes with its name, encoding, shape and lengths."""
        block = number(RUN) if self.form in SCALED else 0
        sizes = sum(varint(size) for size in self.shape)
        inside = field(len(self.name)) + number(1) + field(sizes) + field(self.values) + field(self.scales) + block
        return field(inside)


@dataclass(frozen=True)
class Form:
    """A message but for its place among the sender's messages of its kind."""

    kind: str
    sender: str
    receiver: str
    round: int = 0
    ids: int = 0
    tensors: tuple[Tensor, ...] = ()

    @property
    def payload(self) -> int:
        """Bytes of its tensors' values and scales."""
        return sum(tensor.payload for tensor in self.tensors)

    @property
    def size(self) -> int:
        """Bytes of the whole message, its step left out."""
        head = sum(field(len(text)) for text in (self.kind, self.sender, self.receiver))
        return head + number(self.round) + field(ID * self.ids) + sum(tensor.record for tensor in self.tensors)


FRAME, FRAME_HEADER = 16_384, 9
PREFIX = 5
HEADERS = 3
"""Header frames of a call: the question's, the answer's, and the trailer behind it."""
PIECE = 1 << 18
"""Bytes of a message in one piece (system/network/network.proto)."""


def framed(size: int) -> int:
    """Bytes that gRPC and HTTP/2 put around a message of so many, at least (RFC 9113, section 4.1)."""
    pieces = max(ceil(size / PIECE), 1)
    around = sum(1 + varint(min(PIECE, size)) + PREFIX for _ in range(pieces)) + number(size)
    return around + FRAME_HEADER * max(ceil((size + around) / FRAME), pieces)
