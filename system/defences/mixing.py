"""What permutations and rotations have in common: a secret orthogonal matrix, for all samples or for each."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch

from .defence import Defence, Part


@dataclass(frozen=True)
class Mixing(Defence):
    """Differences x are sent as M x."""

    part = Part.DIFFERENCE
    keyed = True

    per_sample: bool = False
    """A fresh matrix for each sample, which leaves nothing to learn: a control for utility, not a defence."""

    @abstractmethod
    def matrices(self, count: int, width: int, generator: torch.Generator) -> torch.Tensor:
        """Orthogonal matrices (count, width, width), uniform over those that the defence draws from."""

    @property
    def can_reveal(self) -> bool:
        return not self.per_sample

    def transform(self, width: int, generator: torch.Generator) -> torch.Tensor | None:
        return None if self.per_sample else self.matrices(1, width, generator)[0]

    def disguise(self, difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not self.per_sample:
            return difference
        count, width = difference.shape
        return (self.matrices(count, width, generator) @ difference.unsqueeze(2)).squeeze(2)
