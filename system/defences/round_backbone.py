"""A device whose copy of the backbone is rounded, against an attacker who computes with the exact one.

How it is rounded is public: whoever rounds a copy in the same way has the device's backbone, and nothing is hidden from
them. It is a defence against exact matching by attackers who do not, and a cost that a small device may have anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..backbone import Backbone
from ..errors import UsageError
from ..rounding import FEWEST, MOST, rounded
from .defence import Defence, Part


@dataclass(frozen=True)
class RoundBackbone(Defence):
    """Weights of the blocks' linear maps to the nearest of 2^bits - 1 values a channel."""

    name = "round-backbone"
    title = "the device's backbone with weights of few bits"
    source = "round to nearest per channel, as the baseline of GPTQ, arXiv 2210.17323"
    part = Part.BACKBONE
    keyed = False

    bits: int = 8

    def __post_init__(self) -> None:
        if not FEWEST <= self.bits <= MOST:
            raise UsageError(f"the bits of {self.name} are {self.bits}; give {FEWEST} to {MOST}")

    def body(self, backbone: Backbone) -> Backbone:
        return rounded(backbone, self.bits)

    def weakest(self) -> RoundBackbone:
        return replace(self, bits=MOST, revealed=False)
