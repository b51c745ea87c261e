"""Members by how much likelier the released side network makes an example than shadows do on average.

The attack asks how many other examples z an example x beats in the ratio of p(x | released) / p(x) to
p(z | released) / p(z), p(x) being the mean over shadows with and without x. With the challenge as the population, that
share is a monotone function of the first ratio, which is the score. A network that regresses a difference gives an
example the Gaussian likelihood exp(-e / (2 v)) by its squared error e; v is the geometric mean of all shadows' errors.
An adapter's cross-entropy is a likelihood's logarithm as it is.

Threat model and preparation: evidence/members/shadowed.py.
Source: RMIA, online, Zarifzadeh et al. 2024, arXiv 2312.03262, equations 3 and 4.

Shapes: S shadows, C challenges.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch

from ..evidence.members.shadowed import Shadowed
from ..evidence.members.shadows import Shadows


@dataclass(frozen=True)
class RMIA(Shadowed):
    """The logarithm of that ratio."""

    name = "rmia"
    source = "arXiv 2312.03262, equations 3 and 4"

    def judged(self, error: torch.Tensor, shadows: Shadows) -> torch.Tensor:
        scale = 1.0 if shadows.nats else 2 * shadows.errors.mean().exp()
        usual = torch.logsumexp(-shadows.errors.exp() / scale, 0) - log(len(shadows.errors))
        return -error.exp() / scale - usual
