"""The token selector: which position's hidden states stand for a text (PAE MobiLLM's "pivot").

`last` is the paper's choice for decoders, as third-party summaries give it; `first` is the classification token of
encoders, and in a causal decoder sees only itself; `mean` pools all positions and is ours: a departure. `loss` are all
positions whose next token is predicted: language modelling's, which selects them by itself.

Shapes: B texts, T positions.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from .errors import UsageError

Selector = Literal["last", "first", "mean", "loss"]
SELECTORS: tuple[Selector, ...] = get_args(Selector)
LOSS: Selector = "loss"
ONE_STATE = frozenset(SELECTORS) - {LOSS}
"""Those that give one state a text, as classification needs it."""


def require_fit(selector: Selector, causal: bool) -> None:
    """Raises UsageError where a selector tells nothing of a text in such a backbone."""
    if selector == "first" and causal:
        raise UsageError(
            "selector first is for encoders, since the first token of a causal backbone sees only itself; give last or "
            "mean"
        )
    if selector == "last" and not causal:
        raise UsageError(
            "selector last is for causal backbones, whose last token alone has seen the text; an encoder's closing "
            "token says no more than others do: give first or mean"
        )
    if selector == LOSS and not causal:
        raise UsageError(
            "selector loss is for causal backbones, since an encoder predicts no next token; give a causal backbone"
        )


def select(states: torch.Tensor, mask: torch.Tensor, selector: Selector) -> torch.Tensor:
    """(B, T, ...) states and (B, T) mask of right-padded texts to (B, ...)."""
    if selector == LOSS:
        raise UsageError("selector loss is many positions of a text and not one; give last, first or mean")
    if selector == "first":
        return states[:, 0].clone()  # a view would keep the other positions in memory
    if selector == "last":
        return states[torch.arange(len(states)), mask.sum(1) - 1]
    weights = mask.to(states.dtype).view(*mask.shape, *[1] * (states.dim() - 2))
    return (states * weights).sum(1) / weights.sum(1)
