"""What a foreign system hands over, as a message holds it: ids as texts, arrays as tensors of its own memory.

Shapes: n samples of a message, p the sum of their lengths where it packs several rows a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy
import torch

from ...system.codec import PRECISIONS, Precision
from ...system.errors import UnknownName, UsageError
from ..kinds import MOST_ID

LENGTHS = "lengths"
"""The tensor (n,) that says how many rows each sample has in the message's other tensors; one each where absent."""
HALVES: Mapping[torch.dtype, Precision] = {torch.float16: "fp16", torch.bfloat16: "bf16"}
WHOLE = (torch.float32, torch.float64)


class Copied(NamedTuple):
    """Tensors in memory of their own, and what they were."""

    tensors: dict[str, torch.Tensor]
    """Floating-point ones as float32, whole numbers and truth values as int64; contiguous, without gradient, on the
    CPU."""
    kinds: frozenset[torch.dtype]
    """The floating-point types that they came in."""
    bytes: int
    """Of their values in the types that they came in."""


def copied(tensors: Any) -> Copied:
    """Copies of arrays by name: tensors of any device, NumPy arrays, lists of numbers, whatever NumPy can read."""
    if not isinstance(tensors, Mapping):
        raise UsageError(
            f"the tensors came as {type(tensors).__name__}; give them by name, such as {{'activations': x}}"
        )
    if not all(isinstance(name, str) and name and "/" not in name for name in tensors):
        raise UsageError("a tensor's name is a text without a slash; name each so")
    read = {name: _read(name, value) for name, value in tensors.items()}
    return Copied(
        {name: _copy(name, value) for name, value in read.items()},
        frozenset(value.dtype for value in read.values() if value.is_floating_point()),
        sum(value.numel() * value.element_size() for value in read.values()),
    )


def precision_of(kinds: frozenset[torch.dtype], given: str | None) -> Precision:
    """The one that is given; else that of the half precision that all floating-point tensors have, else fp32.

    float64 is kept as float32, which fp32 says.
    """
    if given is not None:
        if given not in PRECISIONS:
            raise UnknownName("precision", given, PRECISIONS)
        return next(one for one in PRECISIONS if one == given)
    if strange := sorted(str(kind) for kind in kinds if kind not in HALVES and kind not in WHOLE):
        raise UsageError(f"no precision stands for {strange[0]}; say by `precision` which of {', '.join(PRECISIONS)}")
    return HALVES[next(iter(kinds))] if len(kinds) == 1 and kinds <= HALVES.keys() else "fp32"


def ids_of(found: Any) -> tuple[str, ...]:
    """Ids of samples as texts: whole numbers are written in digits; None is a message about no sample."""
    if found is None:
        return ()
    if isinstance(found, torch.Tensor | numpy.ndarray):
        found = found.tolist()
    ids = tuple(map(_id, _each(found)))
    if len(set(ids)) < len(ids):
        raise UsageError(f"an id stands twice among the {len(ids)} of one message; give each sample once")
    return ids


def check_rows(ids: Sequence[str], tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse tensors whose rows are not those of the samples that the message names."""
    lengths = tensors.get(LENGTHS)
    rows = {len(ids)} if lengths is None else {len(ids), _packed(lengths, len(ids))}
    for name, tensor in tensors.items():
        if name != LENGTHS and (tensor.dim() == 0 or tensor.shape[0] not in rows):
            wanted = " or ".join(map(str, sorted(rows)))
            raise UsageError(
                f"{name!r} has the shape {tuple(tensor.shape)} and the message names {len(ids)} samples; give {wanted} "
                f"rows{'' if lengths is not None else ', or `lengths` where samples have several'}"
            )


def _packed(lengths: torch.Tensor, samples: int) -> int:
    """How many rows lengths make together."""
    if lengths.is_floating_point() or lengths.shape != (samples,) or bool((lengths < 1).any()):
        raise UsageError(
            f"`lengths` has the shape {tuple(lengths.shape)}; give {samples} whole numbers from 1 up, one a sample"
        )
    return int(lengths.sum())


def _each(found: Any) -> Iterator[Any]:
    try:
        if not isinstance(found, str | bytes):
            return iter(found)
    except TypeError:
        pass
    raise UsageError(f"the ids came as {type(found).__name__}; give one text or whole number for each sample")


def _id(value: Any) -> str:
    if isinstance(value, torch.Tensor | numpy.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise UsageError(f"an id is a {type(value).__name__}; give a text that is not empty, or a whole number")
    if len(text := str(value)) > MOST_ID:
        raise UsageError(f"an id has {len(text)} characters; give at most {MOST_ID}")
    return text


def _read(name: str, value: Any) -> torch.Tensor:
    """The values as a tensor that may share their memory."""
    if not isinstance(value, torch.Tensor):
        value = _array(name, value)
    if value.is_complex() or value.layout is not torch.strided or value.is_quantized:
        raise UsageError(f"{name!r} is complex, sparse or quantised; give plain numbers, as their receiver reads them")
    values: torch.Tensor = value.detach()
    return values


def _array(name: str, value: Any) -> torch.Tensor:
    try:
        array = numpy.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths, tensors that want a gradient
        raise UsageError(f"{name!r} came as {type(value).__name__} that is no array; give rows of one length") from None
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{name!r} came as {type(value).__name__} of type {array.dtype}; give an array of numbers")
    try:
        return torch.tensor(array)
    except TypeError:
        raise UsageError(f"{name!r} is of type {array.dtype}, which torch has not; give float32") from None


def _copy(name: str, value: torch.Tensor) -> torch.Tensor:
    wanted = torch.float32 if value.is_floating_point() else torch.int64
    copy = value.to("cpu", wanted, copy=True, memory_format=torch.contiguous_format)
    if value.dtype is torch.uint64 and bool((copy < 0).any()):
        raise UsageError(f"{name!r} holds whole numbers of 2^63 or more; give smaller ones")
    return copy
