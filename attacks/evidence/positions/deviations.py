"""By how much passes of other shapes round the same states differently, measured on auxiliary text.

Shapes: B texts, T positions, n layers, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ....system.backbone import Backbone, Tokens
from ....system.codec import Precision, through
from ....system.errors import UsageError
from .branching import Branching, told_positions, whole
from .cells import cells_of

MARGIN = 4.0
"""Over the largest deviation that was measured."""

FLOOR = 1e-5
"""Of the bound, over the norm of the state: the rounding of a few hundred float32 operations."""

DIFFERENT = 1e-3
"""A relative deviation that is no rounding."""


class Deviations(NamedTuple):
    """What counts as the same state."""

    bounds: torch.Tensor
    """(n,) float32: the largest distance outside the cells, over the norm, at each layer that crossed"""
    side_by_side: bool
    """Whether branches may stand side by side behind a text."""


def calibrate(backbone: Backbone, layers: Sequence[int], tokens: Tokens, precision: Precision) -> Deviations:
    """From the first halves of texts, run alone, as branches of themselves, and in a batch of whole texts."""
    picked = [layer - 1 for layer in layers]
    states = backbone.activations(tokens, max(layers))[:, :, picked]
    received = cells_of(through(states, precision), precision)
    apart = torch.zeros(len(layers))
    for row, length in enumerate(tokens.mask.sum(1).tolist()):
        ids = tokens.ids[row : row + 1, : length // 2 + 1]
        alone = backbone.activations(whole(ids), max(layers))[0][:, picked]
        half = received.at((torch.tensor(row), torch.arange(ids.shape[1])))
        apart = torch.maximum(apart, half.distances(alone).amax(0))
    if bool((apart > DIFFERENT).any()):
        raise UsageError(
            f"the states of {backbone.name} depend on later tokens, or on what else is in a batch; give match a "
            "causal decoder"
        )
    branched = _branched(backbone, layers, tokens, states)
    beside = branched <= DIFFERENT
    return Deviations(FLOOR + MARGIN * torch.maximum(apart, torch.tensor(branched if beside else 0.0)), beside)


def _branched(backbone: Backbone, layers: Sequence[int], tokens: Tokens, states: torch.Tensor) -> float:
    """The largest relative deviation of texts' own tokens as branches; infinite where the family takes none."""
    if not told_positions(backbone):
        return torch.inf
    length = int(tokens.mask.sum(1).min())
    ids, states = tokens.ids[:, :length], states[:, :length]
    text = Branching(backbone, layers, ids, side_by_side=True)
    places = torch.arange(length).expand(len(ids), -1)
    parts = [text.branches(p, t) for p, t in zip(places.split(text.step, 1), ids.split(text.step, 1), strict=True)]
    apart = (torch.cat(parts, 1) - states).norm(dim=3) / states.norm(dim=3).clamp(min=torch.finfo(torch.float32).tiny)
    return float(apart.max())
