"""A difference as wide as the vocabulary, of which only the largest entries cross, with their places.

Of e_y - p the entry at the next token y is 1 - p_y, and any other is p_j <= 1 - p_y, because probabilities sum to one:
no entry is larger in size than the next token's. Where rounding makes others equal to it, it is taken first.

What a server regresses on is the difference with zeros in the place of what did not cross. Sums of squares over the
whole vocabulary need neither such a target nor, where few entries cross, the outputs themselves: the sum over all
outputs is a quadratic form of the features that they are read out of.

Shapes: P positions, k entries, V vocabulary, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .side_network import SideNetwork


class Sparse(NamedTuple):
    """Entries of a difference, by place in the vocabulary: all of them, in order, where k = V."""

    indices: torch.Tensor
    """(P, k) int64, ascending at each position"""
    values: torch.Tensor
    """(P, k)"""


def sparse_difference(chances: torch.Tensor, targets: torch.Tensor, entries: int) -> Sparse:
    """The entries of e_y - p that are largest in size, from probabilities (P, V) and next tokens (P,).

    In ascending order of place: the order by size would tell the next token.
    """
    own = targets.unsqueeze(1)
    sizes = chances.scatter(1, own, torch.inf)  # all others are as large as their probability
    kept = sizes.topk(min(entries, chances.shape[1]), dim=1, sorted=False).indices.sort(dim=1).values
    values = -chances.gather(1, kept) + (kept == own).to(chances.dtype)
    return Sparse(kept, values)


def sparse_error(network: SideNetwork, activations: torch.Tensor, sent: Sparse) -> torch.Tensor:
    """Squared error of s(A), from (P, L, d), over all V entries, those that did not cross being 0; mean over P."""
    features = network.features(activations)
    vocabulary, width = network.out.shape
    # cheaper where features are many, and gathering rows of the output map takes no more room than the outputs would
    if len(features) > 2 * width and sent.indices.shape[1] * width < vocabulary:
        return _by_form(network, features, sent) / len(features)
    outputs = network.read_out(features)
    at = outputs.gather(1, sent.indices)
    return (outputs.square().sum() + _corrections(at, sent.values)) / len(features)


def _by_form(network: SideNetwork, features: torch.Tensor, sent: Sparse) -> torch.Tensor:
    """The same without any output but those at the places that crossed."""
    weight, bias = network.out, network.bias
    squares = (features @ (weight.T @ weight) * features).sum()
    whole = squares + 2 * (features @ (weight.T @ bias)).sum() + len(features) * bias.square().sum()
    at = torch.einsum("pd,pkd->pk", features, weight[sent.indices]) + bias[sent.indices]
    return whole + _corrections(at, sent.values)


def _corrections(outputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """What (s - v)^2 is more than s^2, summed over the entries (P, k) that crossed."""
    return (values * (values - 2 * outputs)).sum()
