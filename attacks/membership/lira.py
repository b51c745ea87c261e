"""Members by a likelihood ratio: does the error look like that of shadows with the example, or of those without it?

Threat model and preparation: evidence/members/shadowed.py. The logarithm of a squared error is close to Gaussian. Of
few shadows an example's own variance is uncertain: it counts half, that of all examples the other half.
Source: LiRA, online, Carlini et al. 2022, arXiv 2112.03570, algorithm 1; the mixed variance is ours.

Shapes: S shadows, C challenges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..evidence.members.shadowed import Shadowed
from ..evidence.members.shadows import Shadows

LEAST = 1e-6
"""Of a variance."""


@dataclass(frozen=True)
class LiRA(Shadowed):
    """The logarithm of the ratio of two Gaussian densities."""

    name = "lira"
    source = "arXiv 2112.03570, algorithm 1"

    def judged(self, error: torch.Tensor, shadows: Shadows) -> torch.Tensor:
        inside = shadows.inside.float()
        return log_density(error, shadows.errors, inside) - log_density(error, shadows.errors, 1 - inside)


def log_density(value: torch.Tensor, values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Of each value (C,) under the Gaussian of those of a column (S, C) that count; up to a constant."""
    number = counted.sum(0).clamp(min=1)
    mean = (values * counted).sum(0) / number
    squares = (values - mean).square() * counted
    own = squares.sum(0) / (number - 1).clamp(min=1)
    variance = ((own + squares.sum() / counted.sum().clamp(min=1)) / 2).clamp(min=LEAST)
    return -(value - mean).square() / (2 * variance) - variance.log() / 2
