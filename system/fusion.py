"""How a side network's output and the backbone's make one prediction.

Shapes: B texts, N positions end to end, L layers, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.utils.rnn import pad_sequence

from .backbone import Backbone, Tokens
from .difference import DifferenceKind, fused
from .heads import scores
from .selector import Selector, select
from .side_network import SideNetwork


def additive(
    kind: DifferenceKind, head: torch.Tensor, backbone: Backbone, pivots: torch.Tensor, side: SideNetwork
) -> torch.Tensor:
    """f(x) + s(A) of pivots (B, L, d), with the head (K, d): (B, K)."""
    output: torch.Tensor = side(pivots)
    return fused(kind, scores(head, backbone, pivots[:, -1])) + output


def pivot_activations(
    backbone: Backbone,
    texts: list[str],
    longest: int,
    prompt: str,
    selector: Selector,
    layers: Sequence[int] | None = None,
) -> torch.Tensor:
    """The pivot's hidden state after every block, or after some of them, numbered from 1: (B, L, d)."""
    return backbone.pivots(backbone.tokens(texts, longest, prompt), selector, layers)


def positionwise(side: SideNetwork, states: torch.Tensor, lengths: torch.Tensor, selector: Selector) -> torch.Tensor:
    """The side network at every position (N, L, d), read at the selected one of each text: (B, K)."""
    parts, mask = unpack_positions(side.features(states), lengths)
    return side.read_out(select(parts, mask, selector))


def pack_positions(states: torch.Tensor, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T, ...) without its padding, end to end (N, ...), and the lengths (B,)."""
    return states[tokens.mask.bool()], tokens.mask.sum(1)


def unpack_positions(packed: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """End to end (N, ...) to right-padded (B, T, ...), with its mask (B, T)."""
    parts = pad_sequence(list(packed.split(lengths.tolist())), batch_first=True)
    return parts, (torch.arange(parts.shape[1]) < lengths.unsqueeze(1)).long()
