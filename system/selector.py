"""The token selector: which position's hidden states stand for a text (PAE MobiLLM's "pivot").

`last` is the paper's choice for decoders, as third-party summaries give it; `first` is the classification token of
encoders, and in a causal decoder sees only itself; `mean` pools all positions and is ours: a departure.

Shapes: B texts, T positions.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

Selector = Literal["last", "first", "mean"]
SELECTORS: tuple[Selector, ...] = get_args(Selector)


def select(states: torch.Tensor, mask: torch.Tensor, selector: Selector) -> torch.Tensor:
    """(B, T, ...) states and (B, T) mask of right-padded texts to (B, ...)."""
    if selector == "first":
        return states[:, 0]
    if selector == "last":
        return states[torch.arange(len(states)), mask.sum(1) - 1]
    weights = mask.to(states.dtype).view(*mask.shape, *[1] * (states.dim() - 2))
    return (states * weights).sum(1) / weights.sum(1)
