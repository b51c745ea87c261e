"""Members by how much smaller the released side network's error is than that of shadows which never saw the example.

Threat model and preparation: evidence/members/shadowed.py.
Source: difficulty calibration, Watson et al. 2022, arXiv 2111.08440, equation 3; errors by their logarithms.

Shapes: S shadows, C challenges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..evidence.members.shadowed import Shadowed
from ..evidence.members.shadows import Shadows


@dataclass(frozen=True)
class Calibrated(Shadowed):
    """The error, less its mean over shadows without the example."""

    name = "calibrated"
    source = "arXiv 2111.08440, equation 3"

    def judged(self, error: torch.Tensor, shadows: Shadows) -> torch.Tensor:
        without = (~shadows.inside).float()
        return (shadows.errors * without).sum(0) / without.sum(0).clamp(min=1) - error
