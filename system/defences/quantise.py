"""Activations at fewer bits on the wire.

They cross as the codec's integers and really take so few bytes; the difference keeps the protocol's own precision, so
that what the server learns towards stays exact. The device predicts from exact activations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from ..codec import Precision
from ..errors import UsageError
from .defence import Defence, Part

BITS = (2, 4, 8)
WEAKEST = 8


@dataclass(frozen=True)
class Quantise(Defence):
    """The wire's int2, int4 or int8: blocks of 64 values with one scale each."""

    name = "quantise"
    title = "activations at few bits"
    source = "own format, see system/codec.py"
    part = Part.ACTIVATIONS
    keyed = False

    bits: int = 4

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise UsageError(f"the bits of quantise are {self.bits}; give {', '.join(map(str, BITS[:-1]))} or 8")

    def wire_precision(self, own: Precision) -> Precision:
        return cast(Precision, f"int{self.bits}")

    def weakest(self) -> Quantise:
        return replace(self, bits=WEAKEST, revealed=False)
