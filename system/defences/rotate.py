"""Every difference turned by a secret orthogonal matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .mixing import Mixing


@dataclass(frozen=True)
class Rotate(Mixing):
    """One rotation for all samples, or a fresh one for each; uniform over the orthogonal group."""

    name = "rotate"
    title = "the difference turned by a secret orthogonal matrix"
    source = "own derivation; Haar measure by QR: Mezzadri 2007"

    def matrices(self, count: int, width: int, generator: torch.Generator) -> torch.Tensor:
        return orthogonal(count, width, generator)


def orthogonal(count: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(count, width, width): Q of Gaussian matrices, its columns' signs those of R's diagonal."""
    q, r = torch.linalg.qr(torch.randn(count, width, width, generator=generator, dtype=torch.float64))
    turned: torch.Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return turned.float()
