"""Every difference turned by a secret orthogonal matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .defence import Defence, Part


@dataclass(frozen=True)
class Rotate(Defence):
    """One rotation for all samples, or a fresh one for each; uniform over the orthogonal group."""

    name = "rotate"
    title = "the difference turned by a secret orthogonal matrix"
    source = "own derivation; Haar measure by QR: Mezzadri 2007"
    part = Part.DIFFERENCE
    keyed = True

    per_sample: bool = False
    """A fresh rotation for each sample, which leaves nothing to learn: a control for utility, not a defence."""

    @property
    def can_reveal(self) -> bool:
        return not self.per_sample

    def transform(self, width: int, generator: torch.Generator) -> torch.Tensor | None:
        return None if self.per_sample else orthogonal((width, width), generator)

    def disguise(self, difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not self.per_sample:
            return difference
        count, width = difference.shape
        return (orthogonal((count, width, width), generator) @ difference.unsqueeze(2)).squeeze(2)


def orthogonal(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Orthogonal matrices (..., D, D), uniform: Q of a Gaussian matrix, its columns' signs those of R's diagonal."""
    q, r = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))
    turned: torch.Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return turned.float()
