"""How tensors become bytes: full precision, two halves of it, and block-quantised integers.

All rounding is to the nearest, ties to even. Quantisation is symmetric, with one float16 scale for each run of BLOCK
values of the last dimension (the absolute maximum over the largest integer). The sources on MobiLLM say "low-bit
quantised" without a format; this one is ours.

What a value x may lose, MOST being the largest number of a precision:
fp16: |x| 2^-11, or 2^-25 if that is more; bf16: |x| 2^-8, or 2^-134; integers: half of its run's scale, and 2^-25.
Beyond MOST nothing is clamped: `pack` refuses it. Halves carry infinities and NaN as they are, integers refuse them.
Packing what was unpacked gives the same bytes, and so does a message that is sent on.

Shapes: N vectors of the last dimension, d values each, b = ceil(d / BLOCK) scales a vector.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy
import torch

from .errors import ProtocolError, UsageError

Precision = Literal["fp32", "fp16", "bf16", "int8", "int4", "int2"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

BLOCK = 64
"""Values that share a scale."""
MOST_BLOCK = 1 << 16
"""Largest block that is read."""

LARGEST = {"int8": 127, "int4": 7, "int2": 1}
"""Largest integer of each quantised precision; the smallest is its negative."""

BITS = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int4": 4, "int2": 2}
"""Bits of a value, without the scales."""

HALF = torch.finfo(torch.float16)
HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}
MOST = {
    **{precision: torch.finfo(kind).max for precision, kind in HALVES.items()},
    **{precision: largest * HALF.max for precision, largest in LARGEST.items()},
}
"""Largest number that crosses; what rounds to it crosses too."""
HALF_INFINITE = 0x7C00
"""The first float16, as an unsigned integer, that is no finite number from zero up."""


class Packed(NamedTuple):
    """A tensor as bytes: `scales` is empty and `block` 0 unless quantised."""

    data: bytes
    scales: bytes
    block: int


def pack(tensor: torch.Tensor, precision: Precision) -> Packed:
    """Bytes of a floating-point tensor of any shape at a precision; UsageError for a number beyond its range."""
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    if precision == "fp32":
        return Packed(values.numpy().astype("<f4", copy=False).tobytes(), b"", 0)
    if precision in HALVES:
        return Packed(_halved(values, precision).numpy().astype("<i2", copy=False).tobytes(), b"", 0)
    whole, scales = quantise(values, LARGEST[precision])
    if not scales.isfinite().all():
        raise _beyond(precision)
    integers = whole.numpy().astype(numpy.int8).ravel()
    return Packed(_packed(integers, BITS[precision]), scales.numpy().astype("<f2", copy=False).tobytes(), BLOCK)


def packed_bytes(shape: tuple[int, ...], precision: Precision) -> int:
    """How many bytes `pack` makes of a tensor, scales included."""
    count = math.prod(shape)
    values = math.ceil(count * BITS[precision] / 8)
    if precision not in LARGEST or not count:
        return values
    last = shape[-1] if shape else 1
    return values + 2 * (count // last) * math.ceil(last / BLOCK)


def unpack(packed: Packed, shape: tuple[int, ...], precision: Precision) -> torch.Tensor:
    """The float32 tensor that a receiver reads; raises ProtocolError for bytes that `pack` makes of no such shape."""
    count = math.prod(shape)
    size = math.ceil(count * BITS[precision] / 8)
    if len(packed.data) != size:
        raise ProtocolError(f"{count} values of {precision} take {size} bytes, not {len(packed.data)}")
    if precision in LARGEST:
        integers = _unpacked(packed.data, precision, count)
        return _scaled(torch.from_numpy(integers.astype(numpy.float32)).view(shape), packed)
    if packed.scales or packed.block:
        raise ProtocolError(f"a {precision} tensor has no scales; send it without")
    return torch.from_numpy(_floats(packed.data, precision)).view(shape)


def quantise(values: torch.Tensor, largest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers of the shape of `values`, and float16 scales (N, b), infinite or NaN where values are too large or none.

    An all-zero run has scale 0, also where it is zero only once rounded.
    """
    if not values.numel():
        return values, torch.zeros(0, dtype=torch.float16)
    last = values.shape[-1] if values.dim() else 1
    runs = math.ceil(last / BLOCK)
    padded = torch.zeros(values.numel() // last, runs * BLOCK)
    padded[:, :last] = values.reshape(-1, last)
    blocks = padded.view(-1, runs, BLOCK)
    # rounded up to float16's grid first, so that both ends multiply by the same number and none is clamped
    wanted = blocks.abs().amax(2) / largest
    scales = wanted.half()
    above = torch.nextafter(scales, torch.full_like(scales, torch.inf))
    scales = torch.where(scales.float() < wanted, above, scales)
    scales = _settled(scales, wanted, largest)
    divisor = torch.where(scales > 0, scales.float(), torch.ones(()))
    whole = blocks.div_(divisor.unsqueeze(2)).round_().clamp_(-largest, largest)
    return whole.view(-1, runs * BLOCK)[:, :last].reshape(values.shape), scales


def through(tensor: torch.Tensor, precision: Precision) -> torch.Tensor:
    """What a receiver reads after a tensor crossed at a precision: same shape, float32."""
    return unpack(pack(tensor, precision), tuple(tensor.shape), precision)


def _settled(scales: torch.Tensor, wanted: torch.Tensor, largest: int) -> torch.Tensor:
    """The scales that the receiver's values have too, when they are packed again.

    Float16 has few numbers below 2^-14. Rounding up to it may leave the largest value so few steps that the next
    smaller scale would do for what is read; then that scale is taken at once, and the value is clamped to it.
    """
    below = torch.nextafter(scales, torch.zeros_like(scales))
    top = (wanted * largest / torch.where(scales > 0, scales.float(), torch.ones(()))).round()
    return torch.where(top * scales.float() <= largest * below.float(), below, scales)


def _halved(values: torch.Tensor, precision: Precision) -> torch.Tensor:
    """The bits of half precision, as 16-bit integers."""
    halves = values.to(HALVES[precision])
    if not _within(values, MOST[precision]) and (halves.isinf() & values.isfinite()).any():
        raise _beyond(precision)
    return halves.view(torch.int16)


def _within(values: torch.Tensor, most: float) -> bool:
    """Whether all are numbers up to `most`: one pass, a tenth of what a look at each costs."""
    if not values.numel():
        return True
    lowest, highest = values.aminmax()
    return bool(-lowest <= most) and bool(highest <= most)


def _beyond(precision: Precision) -> UsageError:
    wider = "fp32" if precision == "bf16" else "bf16 or fp32"
    return UsageError(f"{precision} holds numbers up to {MOST[precision]:g}, and another was to be sent; take {wider}")


def _floats(data: bytes, precision: Precision) -> numpy.ndarray:
    """Float32 values in memory of their own."""
    if precision == "fp32":
        return numpy.frombuffer(data, "<f4").astype(numpy.float32)
    if precision == "fp16":  # torch widens with the processor's own instruction, numpy without
        return torch.from_numpy(numpy.frombuffer(data, "<f2").astype(numpy.float16)).float().numpy()
    widened = numpy.frombuffer(data, "<u2").astype(numpy.uint32)
    widened <<= 16
    return widened.view(numpy.float32)


def _scaled(integers: torch.Tensor, packed: Packed) -> torch.Tensor:
    """The integers, multiplied in place."""
    last = integers.shape[-1] if integers.dim() else 1
    if not 0 < packed.block <= MOST_BLOCK:
        raise ProtocolError(f"a quantised tensor names a block of 1 to {MOST_BLOCK} values, not of {packed.block}")
    runs = math.ceil(last / packed.block)
    vectors = integers.numel() // last if last else 0
    size = 2 * vectors * runs
    if len(packed.scales) != size:
        raise ProtocolError(f"{vectors} quantised vectors take {size} bytes of scales, not {len(packed.scales)}")
    if (numpy.frombuffer(packed.scales, "<u2") >= HALF_INFINITE).any():
        raise ProtocolError("the scales of a quantised tensor are finite numbers from zero up; send such")
    if integers.numel():
        scales = torch.from_numpy(numpy.frombuffer(packed.scales, "<f2").astype(numpy.float32)).view(vectors, runs)
        _multiply(integers.view(vectors, last), scales, packed.block)
    return integers


def _multiply(vectors: torch.Tensor, scales: torch.Tensor, block: int) -> None:
    """Multiply the runs of vectors (N, d) by scales (N, b), in place: whole runs first, then a shorter last one."""
    whole = vectors.shape[1] // block
    vectors[:, : whole * block].unflatten(1, (whole, block)).mul_(scales[:, :whole, None])
    vectors[:, whole * block :].mul_(scales[:, -1:])


def _packed(integers: numpy.ndarray, bits: int) -> bytes:
    """Two's complement, several to a byte, the first in the lowest bits; an odd tail is padded with zero."""
    each = 8 // bits
    padded = numpy.zeros(each * math.ceil(len(integers) / each), numpy.uint8)
    padded[: len(integers)] = integers.view(numpy.uint8) & ((1 << bits) - 1)
    joined = numpy.zeros(len(padded) // each, numpy.uint8)
    for place in range(each):  # numpy is slow along a short axis
        joined |= padded[place::each] << (bits * place)
    return joined.tobytes()


def _unpacked(data: bytes, precision: Precision, count: int) -> numpy.ndarray:
    """The integers (count,), int8; each is shifted to the top of a byte and back, which extends its sign."""
    bits, largest = BITS[precision], LARGEST[precision]
    joined, each = numpy.frombuffer(data, numpy.uint8), 8 // bits
    integers = numpy.empty(each * len(joined), numpy.int8)
    for place in range(each):  # numpy is slow along a short axis
        integers[place::each] = (joined << (8 - bits * (place + 1))).view(numpy.int8) >> (8 - bits)
    if integers[count:].any() or (integers < -largest).any():
        raise ProtocolError(f"the integers of {precision} lie in -{largest}..{largest}, and zeros fill the last byte")
    return integers[:count]
