"""Every difference stretched by a secret factor."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch

from ..errors import UsageError
from .defence import Defence, Part


@dataclass(frozen=True)
class Scale(Defence):
    """One factor for all samples, or one for each; its logarithm is uniform between -log(spread) and log(spread)."""

    name = "scale"
    title = "the difference stretched by a secret factor"
    source = "own derivation"
    part = Part.DIFFERENCE
    keyed = True

    spread: float = 4.0
    per_sample: bool = False

    def __post_init__(self) -> None:
        if not self.spread >= 1:
            raise UsageError(f"the spread of scale is {self.spread}; give 1, which changes nothing, or more")

    @property
    def can_reveal(self) -> bool:
        return not self.per_sample

    def transform(self, width: int, generator: torch.Generator) -> torch.Tensor | None:
        return None if self.per_sample else torch.eye(width) * self._factors(1, generator)

    def disguise(self, difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not self.per_sample:
            return difference
        # at a mean of one, what the server learns is the difference itself
        return difference * self._factors(len(difference), generator) / self._mean

    def weakest(self) -> Scale:
        return Scale(spread=1.0, per_sample=self.per_sample)

    @property
    def _mean(self) -> float:
        """The expected factor."""
        return (self.spread - 1 / self.spread) / (2 * log(self.spread)) if self.spread > 1 else 1.0

    def _factors(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """(count, 1)"""
        uniform = 2 * torch.rand(count, 1, generator=generator) - 1
        return (uniform * log(self.spread)).exp()
