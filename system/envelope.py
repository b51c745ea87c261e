"""What the bytes of an envelope may claim: read from them before anything is built that could be larger than they are.

A frame of two million bytes may claim a million tensors, each of which takes the parser a hundred bytes. So the fields
are counted and measured first, in the encoding of protocol buffers, and only what a sender can have meant is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .errors import ProtocolError

ID_BYTES = 8
MOST_IDS = 1 << 20
"""Samples of a message."""
MOST_TENSORS = 1024
"""Of a message. All weights of a backbone of 70 billion are 723."""
MOST_DIMENSIONS = 8
MOST_LETTERS = 64
"""Of a kind or a party's name."""
MOST_NAME = 128
"""Letters of a tensor's name; adapters of a nested layer take about 90."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", re.ASCII)
QUOTED = 40
"""Characters of a hostile name that an error repeats, at most."""

SPARE = 32
"""Fields beyond those of today's schema, for those of later ones."""
VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_IDS, _TENSORS, _SHAPE = 6, 7, 3


class Field(NamedTuple):
    """A field's number, and its bytes where it has a length of its own."""

    number: int
    content: memoryview | None


def check(data: bytes) -> None:
    """Raise ProtocolError where the bytes claim more tensors, samples or dimensions than a message has."""
    tensors = ids = 0
    for field in fields(memoryview(data), MOST_TENSORS + SPARE):
        if field.number == _TENSORS and field.content is not None:
            tensors += 1
            _check_tensor(field.content)
        if field.number == _IDS and field.content is not None:
            ids += len(field.content)
    if tensors > MOST_TENSORS:
        raise ProtocolError(f"a message has at most {MOST_TENSORS} tensors, not {tensors}")
    if ids > MOST_IDS * ID_BYTES:
        raise ProtocolError(f"a message has at most {MOST_IDS} sample ids; {ids} bytes of them came")


def _check_tensor(content: memoryview) -> None:
    shape = sum(
        VARINT_BYTES if field.content is None else len(field.content)
        for field in fields(content, MOST_DIMENSIONS + SPARE)
        if field.number == _SHAPE
    )
    if shape > MOST_DIMENSIONS * VARINT_BYTES:
        raise ProtocolError(f"a tensor has at most {MOST_DIMENSIONS} dimensions; {shape} bytes of sizes came")


def ids_of(content: bytes) -> tuple[str, ...]:
    """Sample ids as hexadecimal digits; ProtocolError for a part of one."""
    if len(content) % ID_BYTES:
        raise ProtocolError(f"sample ids take {ID_BYTES} bytes each; {len(content)} bytes came")
    digits = content.hex()
    return tuple(digits[at : at + 2 * ID_BYTES] for at in range(0, len(digits), 2 * ID_BYTES))


def named(what: str, name: str, most: int = MOST_LETTERS) -> str:
    """The name, where it is one; else ProtocolError."""
    if len(name) > most or not NAME.fullmatch(name):
        raise ProtocolError(
            f"{what} is 1 to {most} ASCII letters, digits and _ . : -, the first a letter or digit; not {quoted(name)}"
        )
    return name


def quoted(name: str) -> str:
    """The beginning of a name, escaped."""
    return ascii(name[:QUOTED])[: QUOTED + 1] + ("..." if len(ascii(name)) > QUOTED + 2 else "")


def fields(data: memoryview, most: int) -> Iterator[Field]:
    """The fields in order; ProtocolError where they are cut, are of no known type or are more than `most`."""
    at, found = 0, 0
    while at < len(data):
        key, at = _varint(data, at)
        length, at = _length(data, at, key & 7)
        found += 1
        if found > most or at + length > len(data):
            raise ProtocolError(f"the bytes are no Sidelight envelope: cut off, or more than {most} fields")
        yield Field(key >> 3, data[at : at + length] if key & 7 == _BYTES else None)
        at += length


def _length(data: memoryview, at: int, kind: int) -> tuple[int, int]:
    """Bytes of a field's content, and where it begins."""
    if kind == _VARINT:
        return 0, _varint(data, at)[1]
    if kind == _BYTES:
        return _varint(data, at)
    if kind in (_FIXED32, _FIXED64):
        return (4 if kind == _FIXED32 else 8), at
    raise ProtocolError("the bytes are no Sidelight envelope: a field has no known type")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; and where the next field or content begins."""
    if at < len(data) and data[at] < 128:
        return data[at], at + 1  # nearly all of them
    value = 0
    for place, byte in enumerate(data[at : at + VARINT_BYTES]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ProtocolError("the bytes are no Sidelight envelope: a number has no end")
