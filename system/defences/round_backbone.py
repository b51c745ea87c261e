"""A device whose copy of the backbone is rounded: it hides nothing from whoever rounds as well.

How it is rounded is public: whoever rounds a copy in the same way has the device's backbone, and nothing is hidden from
them. `retrieve` does so. Other attacks compute with the exact weights: what they miss is no protection, and no verdict
on them reads `resists`. It is a cost that a small device may have anyway.
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
    evaded = "whoever rounds the public backbone in the same way has the device's, and not every attack here does so"

    bits: int = 8

    def __post_init__(self) -> None:
        if not FEWEST <= self.bits <= MOST:
            raise UsageError(f"the bits of {self.name} are {self.bits}; give {FEWEST} to {MOST}")

    def body(self, backbone: Backbone) -> Backbone:
        return rounded(backbone, self.bits)

    def weakest(self) -> RoundBackbone:
        return replace(self, bits=MOST, revealed=False)
