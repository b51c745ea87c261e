"""Vectors brought within a length: what bounds the influence of one example, before noise."""

from __future__ import annotations

import torch


def clipped(vectors: torch.Tensor, length: float) -> torch.Tensor:
    """Vectors (..., d) that are no longer than this, each in its own direction."""
    bounded: torch.Tensor = vectors * (length / vectors.norm(dim=-1, keepdim=True).clamp(min=length))
    return bounded
