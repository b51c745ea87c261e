"""Scores of classes of which an attacker saw nothing, beside those of classes that it can score.

Shapes: Q rows, K classes.
"""

from __future__ import annotations

import torch

from ....system.view import finite


def below_seen(scores: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Scores (Q, K), those of classes not `seen` (K,) a step below their row's least, whatever they were.

    The step is the mean range of a row, since scores have no unit: one far below would be all that their spread tells.
    """
    known = finite(scores[:, seen])
    least, most = known.aminmax(dim=1, keepdim=True)
    step = float((most - least).mean()) or 1.0
    return torch.where(seen, finite(scores), least - step)
