"""Safetensors files that somebody else wrote, by their headers: types and shapes are known without any value.

Shapes: as the header says. Values are read a few mebibytes at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from safetensors import SafetensorError, safe_open

from ...system.envelope import MOST_DIMENSIONS
from ...system.errors import UsageError
from .fields import plain_file

CHUNK = 1 << 22
"""Bytes that are looked at together."""
FLOAT = "F32"
WHOLE = {"I64": "<i8", "I32": "<i4"}
SIZES = {FLOAT: 4, "I64": 8, "I32": 4}


class Place(NamedTuple):
    """A tensor in its file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Bytes from where values begin."""

    @property
    def bytes(self) -> int:
        return SIZES[self.dtype] * prod(self.shape)


@dataclass(frozen=True)
class Tensors:
    """A safetensors file whose header is right."""

    path: Path
    places: Mapping[str, Place]
    begin: int
    """Where values begin."""

    def whole_numbers(self, name: str) -> numpy.ndarray[Any, Any]:
        """The values of a tensor of whole numbers, in its shape."""
        place = self.places[name]
        with self.path.open("rb") as file:
            file.seek(self.begin + place.start)
            data = file.read(place.bytes)
        values: numpy.ndarray[Any, Any] = numpy.frombuffer(data, WHOLE[place.dtype]).reshape(place.shape)
        return values

    def refuse_not_finite(self) -> None:
        """Raise UsageError where a floating-point tensor holds a value that is no finite number."""
        if not self.places:
            return
        with self.path.open("rb") as file:
            for start, end in self._runs():
                file.seek(self.begin + start)
                for at in range(start, end, CHUNK):
                    values = numpy.frombuffer(file.read(min(CHUNK, end - at)), "<f4")
                    if not (fine := numpy.isfinite(values)).all():
                        raise self._not_finite(at + 4 * int(fine.argmin()))

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Where floating-point values lie, neighbours together: a file may hold thousands of small tensors."""
        begin = end = 0
        for place in sorted(self.places.values(), key=lambda place: place.start):
            if place.dtype != FLOAT:
                continue
            if place.start != end:
                yield begin, end
                begin = place.start
            end = place.start + place.bytes
        yield begin, end

    def _not_finite(self, at: int) -> UsageError:
        for name, place in self.places.items():
            if place.dtype == FLOAT and place.start <= at < place.start + place.bytes:
                return UsageError(f"{self.path}: {name!r} holds a value that is no finite number; give finite ones")
        raise AssertionError("some tensor holds the value")


def opened(path: Path) -> Tensors:
    """The header of a file; UsageError where it is no safetensors file, or a tensor has a type that is not read.

    An absent file holds no tensor.
    """
    if not plain_file(path):
        return Tensors(path, {}, 0)
    try:
        with safe_open(path, framework="np"):  # it checks that sizes and offsets fit each other and the file
            pass
    except SafetensorError as error:
        raise UsageError(f"{path} is no whole safetensors file ({error}); write it again") from None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        stored = json.loads(file.read(length))
    stored.pop("__metadata__", None)
    return Tensors(path, {name: _place(path, name, value) for name, value in stored.items()}, 8 + length)


def _place(path: Path, name: str, stored: Mapping[str, Any]) -> Place:
    dtype, shape = stored["dtype"], tuple(stored["shape"])
    if dtype not in SIZES:
        raise UsageError(
            f"{path}: {name!r} has the type {dtype}; give F32 for numbers, as their receiver read them, and I64 or I32 "
            "for whole numbers"
        )
    if len(shape) > MOST_DIMENSIONS:
        raise UsageError(f"{path}: {name!r} has {len(shape)} dimensions; give at most {MOST_DIMENSIONS}")
    return Place(dtype, shape, stored["data_offsets"][0])
