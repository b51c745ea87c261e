"""What the bytes of a received tensor leave open: for each value, the interval that encodes to the same bytes.

A codec that rounds is exact given the state: the state that was sent lies in these cells, and almost no other state
does, however coarse the precision: at four bits a vector of 192 values still has 192 intervals to meet.

Shapes: N vectors, d values, R runs of `codec.BLOCK` values of a vector that share a scale.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch.nn.functional import pad

from ....system.codec import BLOCK, HALVES, LARGEST, Precision

WHOLE = 1e-3
"""How far from an integer a value over its scale may lie."""
SETTLED = 2.0**-16
"""From here on scales are as fine as float16's numbers allow: 256 steps of 2^-24, twice the largest integer."""


class Cells(NamedTuple):
    """The received values, and the ends of their cells, each (..., d)."""

    received: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def at(self, index: torch.Tensor | tuple[torch.Tensor, ...]) -> Cells:
        """Some of the vectors."""
        return Cells(self.received[index], self.low[index], self.high[index])

    def distances(self, states: torch.Tensor) -> torch.Tensor:
        """How far states (..., d) lie outside their cells, over the received norm: (...); 0 inside."""
        outside = (self.low - states).clamp_(min=0).add_((states - self.high).clamp_(min=0))
        size = self.received.norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
        relative: torch.Tensor = outside.norm(dim=-1) / size
        return relative


def cells_of(received: torch.Tensor, precision: Precision) -> Cells:
    """The cells of values (..., d) as a receiver decoded them; those of fp32 have no width."""
    if precision == "fp32":
        return Cells(received, received, received)
    if precision in HALVES:
        return _of_halves(received, HALVES[precision])
    return _of_integers(received, LARGEST[precision])


def _of_halves(received: torch.Tensor, kind: torch.dtype) -> Cells:
    half = received.to(kind)
    infinite = torch.full_like(half, torch.inf)
    below, above = torch.nextafter(half, -infinite).float(), torch.nextafter(half, infinite).float()
    return Cells(received, (below + received) / 2, (received + above) / 2)


def _of_integers(received: torch.Tensor, largest: int) -> Cells:
    """The largest value of a run fixes the scale, which is rounded up to float16: its own cell is far narrower.

    A scale that has few float16 numbers near it may be the next one down, which clamps by at most half of it.
    """
    width = received.shape[-1]
    runs = math.ceil(width / BLOCK)
    blocks = pad(received, (0, runs * BLOCK - width)).unflatten(-1, (runs, BLOCK))
    scales, tops = _scales(blocks.abs().amax(-1), blocks, largest)
    spread, half = scales.unsqueeze(-1), scales.unsqueeze(-1) / 2
    below = torch.nextafter(scales.half(), torch.zeros_like(scales.half())).float().unsqueeze(-1)
    extreme = (blocks.abs() >= tops.unsqueeze(-1) * spread * (1 - WHOLE)) & (tops.unsqueeze(-1) == largest)
    alone = extreme & (extreme.sum(-1, keepdim=True) == 1)
    outer = torch.where(extreme & (spread >= SETTLED), spread * largest, blocks.abs() + half)
    inner = torch.where(alone, below * largest, blocks.abs() - half)
    positive = blocks >= 0
    low, high = torch.where(positive, inner, -outer), torch.where(positive, outer, -inner)
    return Cells(received, *(end.flatten(-2)[..., :width] for end in (low, high)))


def _scales(peaks: torch.Tensor, blocks: torch.Tensor, largest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each run's scale, and the integer of its largest value, from peaks (..., R) and blocks (..., R, BLOCK).

    That integer is the largest there is, unless the scale is so small that float16 rounds it up by more than a half
    step; then it is the largest under which the scale is a float16 and all values are integers.
    """
    scales, tops = peaks / largest, torch.full_like(peaks, float(largest))
    open_ = ~_explains(scales, blocks) & (peaks > 0)
    for top in range(largest - 1, 0, -1):
        if not open_.any():
            break
        tried = peaks / top
        fits = open_ & _explains(tried, blocks)
        scales, tops = torch.where(fits, tried, scales), torch.where(fits, top, tops)
        open_ &= ~fits
    return scales, tops


def _explains(scales: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """Whether scales (..., R) are float16 and blocks (..., R, BLOCK) are integers of them."""
    integers = blocks / scales.unsqueeze(-1).clamp(min=torch.finfo(torch.float32).tiny)
    return (scales.half().float() == scales) & ((integers - integers.round()).abs() < WHOLE).all(-1)
