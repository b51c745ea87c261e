"""The prediction difference: what the device sends instead of a label (arXiv 2507.01216: "device-defined").

The sources give no formula, so every reading is here under its own name. The server regresses s(A) on the
difference; the device predicts with f(x) + s(A), where f is the part of the backbone's output that the difference
took away.

Shapes: B samples, K classes.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch.nn.functional import one_hot

DifferenceKind = Literal["probability", "logit"]
DIFFERENCE_KINDS: tuple[DifferenceKind, ...] = get_args(DifferenceKind)


def fused(kind: DifferenceKind, scores: torch.Tensor) -> torch.Tensor:
    """f(x), the backbone's share of the prediction: softmax of its scores, or the scores themselves; (B, K)."""
    return scores.softmax(1) if kind == "probability" else scores


def difference(kind: DifferenceKind, scores: torch.Tensor, labels: torch.Tensor, scale: float) -> torch.Tensor:
    """One-hot minus softmax (`probability`), or scale times one-hot minus scores (`logit`): (B, K)."""
    target = one_hot(labels, scores.shape[1]).to(scores.dtype)
    if kind == "logit":
        target = scale * target
    return target - fused(kind, scores)
