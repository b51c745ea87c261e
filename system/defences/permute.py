"""The entries of every difference in a secret order."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .defence import Defence, Part


@dataclass(frozen=True)
class Permute(Defence):
    """One order for all samples, or a fresh one for each."""

    name = "permute"
    title = "entries of the difference in a secret order"
    source = "own derivation; static obfuscation: arXiv 2603.05035"
    part = Part.DIFFERENCE
    keyed = True

    per_sample: bool = False
    """A fresh order for each sample, which leaves nothing to learn: a control for utility, not a defence."""

    @property
    def can_reveal(self) -> bool:
        return not self.per_sample

    def transform(self, width: int, generator: torch.Generator) -> torch.Tensor | None:
        return None if self.per_sample else torch.eye(width)[torch.randperm(width, generator=generator)]

    def disguise(self, difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not self.per_sample:
            return difference
        return difference.gather(1, torch.rand(difference.shape, generator=generator).argsort(1))
