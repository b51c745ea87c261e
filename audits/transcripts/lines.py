"""Whether messages of the kinds that attacks read hold what they must, checked by headers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...system.errors import UsageError
from ..kinds import ALONE, KINDS, LENGTHS, Form
from .tensors import FLOAT, WHOLE, Place, Tensors


class Line(NamedTuple):
    """A message's line, as far as its tensors need it."""

    where: str
    kind: str
    ids: Sequence[str]
    places: Mapping[str, Place]
    shard: Tensors
    prefix: str
    """What the names of its tensors begin with in the shard."""


def check(line: Line) -> Mapping[str, tuple[int, ...]]:
    """By tensor, the shape that every message of the kind must have, without rows; UsageError where one is wrong.

    A kind that no attack reads may hold anything.
    """
    if line.kind not in KINDS:
        return {}
    forms = next((forms for forms in KINDS[line.kind] if forms.keys() <= line.places.keys()), None)
    if forms is None:
        wanted = " or ".join(" and ".join(map(repr, forms)) for forms in KINDS[line.kind])
        raise UsageError(f"{line.where} is of the kind {line.kind!r} without its tensors; give {wanted}")
    rows = _rows(line)
    for name, form in forms.items():
        if name != LENGTHS:
            _check_form(line, name, form, rows)
    return {name: line.places[name].shape[1:] for name in forms}


def _check_form(line: Line, name: str, form: Form, rows: int) -> None:
    place = line.places[name]
    if (place.dtype in WHOLE) is not form.whole:
        raise UsageError(f"{line.where}: {name!r} is {place.dtype}; give {'I64 or I32' if form.whole else FLOAT}")
    if len(place.shape) != form.dimensions:
        raise UsageError(f"{line.where}: {name!r} has the shape {place.shape}; give {form.shape}")
    if place.shape[0] != rows:
        told = f"lengths add up to {rows}" if LENGTHS in line.places else f"there are {len(line.ids)} ids"
        if line.kind in ALONE:
            raise UsageError(f"{line.where}: {name!r} has the shape {place.shape}; give {form.shape}")
        raise UsageError(
            f"{line.where}: {name!r} has {place.shape[0]} rows and {told}; give a row for each id, or as many as "
            "`lengths` adds up to"
        )


def _rows(line: Line) -> int:
    """How many rows each tensor has."""
    if line.kind in ALONE:
        return 1
    if LENGTHS not in line.places:
        return len(line.ids)
    place = line.places[LENGTHS]
    if place.dtype not in WHOLE or place.shape != (len(line.ids),):
        raise UsageError(
            f"{line.where}: 'lengths' is {place.dtype} of the shape {place.shape}; give a whole number for each of the "
            f"{len(line.ids)} ids"
        )
    lengths = line.shard.whole_numbers(f"{line.prefix}{LENGTHS}")
    least = 1 if line.kind == "activations" else 0
    if lengths.size and int(lengths.min()) < least:
        raise UsageError(f"{line.where}: 'lengths' holds {int(lengths.min())}; give at least {least} for each id")
    return int(lengths.sum())
