"""How tensors become bytes: full and half precision, and block-quantised integers.

Quantisation is symmetric, round to nearest, with one float16 scale for each run of BLOCK values of the last
dimension (the absolute maximum over the largest integer). The sources on MobiLLM say "low-bit quantised"
without a format; this one is ours.

Shapes: N vectors of the last dimension, d values each, b = ceil(d / BLOCK) scales a vector.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy
import torch

from .errors import ProtocolError

Precision = Literal["fp32", "fp16", "int8", "int4", "int2"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

BLOCK = 64
"""Values that share a scale."""

LARGEST = {"int8": 127, "int4": 7, "int2": 1}
"""Largest integer of each quantised precision; the smallest is its negative."""


BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4, "int2": 2}
"""Bits of a value, without the scales."""


class Packed(NamedTuple):
    """A tensor as bytes: `scales` is empty and `block` 0 unless quantised."""

    data: bytes
    scales: bytes
    block: int


def pack(tensor: torch.Tensor, precision: Precision) -> Packed:
    """Bytes of a floating-point tensor of any shape at a precision."""
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    if precision == "fp32":
        return Packed(values.numpy().astype("<f4").tobytes(), b"", 0)
    if precision == "fp16":
        return Packed(values.half().numpy().astype("<f2").tobytes(), b"", 0)
    whole, scales = quantise(values, LARGEST[precision])
    integers = whole.numpy().astype(numpy.int8).ravel()
    return Packed(_packed(integers, BITS[precision]), scales.numpy().astype("<f2").tobytes(), BLOCK)


def unpack(packed: Packed, shape: tuple[int, ...], precision: Precision) -> torch.Tensor:
    """The float32 tensor that a receiver reads; raises ProtocolError where the bytes do not fill the shape."""
    count = math.prod(shape)
    size = math.ceil(count * BITS[precision] / 8)
    if len(packed.data) != size:
        raise ProtocolError(f"a {precision} tensor of shape {shape} takes {size} bytes, not {len(packed.data)}")
    if precision in ("fp32", "fp16"):
        array = numpy.frombuffer(packed.data, "<f4" if precision == "fp32" else "<f2")
        return torch.from_numpy(array.astype(numpy.float32)).view(shape)
    integers = _unpacked(packed.data, BITS[precision], count)
    return _scaled(torch.from_numpy(integers.astype(numpy.float32)).view(shape), packed)


def quantise(values: torch.Tensor, largest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers of the shape of `values`, and float16 scales (N, b); an all-zero run has scale 0."""
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
    divisor = torch.where(scales > 0, scales.float(), torch.ones(()))
    whole = (blocks / divisor.unsqueeze(2)).round().clamp(-largest, largest)
    return whole.view(-1, runs * BLOCK)[:, :last].reshape(values.shape), scales


def through(tensor: torch.Tensor, precision: Precision) -> torch.Tensor:
    """What a receiver reads after a tensor crossed at a precision: same shape, float32."""
    return unpack(pack(tensor, precision), tuple(tensor.shape), precision)


def _scaled(integers: torch.Tensor, packed: Packed) -> torch.Tensor:
    last = integers.shape[-1] if integers.dim() else 1
    if packed.block <= 0:
        raise ProtocolError("a quantised tensor names its block size; it is missing")
    runs = math.ceil(last / packed.block)
    vectors = integers.numel() // last if last else 0
    size = 2 * vectors * runs
    if len(packed.scales) != size:
        raise ProtocolError(f"{vectors} quantised vectors take {size} bytes of scales, not {len(packed.scales)}")
    scales = torch.from_numpy(numpy.frombuffer(packed.scales, "<f2").astype(numpy.float32))
    # a peer may claim any block size; no more than a vector is spread out
    spread = scales.view(vectors, runs).repeat_interleave(min(packed.block, last), 1)[:, :last]
    return (integers.reshape(vectors, last) * spread).view(integers.shape)


def _packed(integers: numpy.ndarray, bits: int) -> bytes:
    """Two's complement, several to a byte, the first in the lowest bits; an odd tail is padded with zero."""
    each = 8 // bits
    padded = numpy.zeros(each * math.ceil(len(integers) / each), numpy.uint8)
    padded[: len(integers)] = integers.astype(numpy.uint8) & ((1 << bits) - 1)
    shifted = padded.reshape(-1, each) << (bits * numpy.arange(each, dtype=numpy.uint8))
    joined: numpy.ndarray = numpy.bitwise_or.reduce(shifted, axis=1).astype(numpy.uint8)
    return joined.tobytes()


def _unpacked(data: bytes, bits: int, count: int) -> numpy.ndarray:
    places = bits * numpy.arange(8 // bits, dtype=numpy.uint8)
    raw = (numpy.frombuffer(data, numpy.uint8)[:, None] >> places) & ((1 << bits) - 1)
    both = raw.ravel()[:count].astype(numpy.int16)
    return numpy.where(both >= 1 << (bits - 1), both - (1 << bits), both).astype(numpy.int8)
