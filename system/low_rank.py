"""Low-rank updates B A of different ranks: padded to one, averaged as products, and cut to a device's own.

The mean of the products is formed from the stacked factors and never written out: QR of both stacks, then the singular
values of the small middle.
Source: HLoRA, arXiv 2503.00813, for the rule (a mean of products, of whose singular values each device gets the leading
ones); the way by QR is ours.

Shapes: r rank, p and q the width that a map gives and takes: B (p, r), A (r, q).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import pad

from .adapters import State

DOWN, UP = "lora_A", "lora_B"
"""What peft calls A and B."""


def trimmed(state: State, rank: int) -> dict[str, torch.Tensor]:
    """The leading rows of every A and columns of every B."""
    return {name: t[:rank] if DOWN in name else t[:, :rank] if UP in name else t for name, t in state.items()}


def padded(state: State, rank: int) -> dict[str, torch.Tensor]:
    """Every factor filled with zeros to a rank, which leaves the products as they are."""
    return {
        name: pad(t, (0, 0, 0, rank - len(t))) if DOWN in name else pad(t, (0, rank - t.shape[1])) if UP in name else t
        for name, t in state.items()
    }


def factors_mean(states: Sequence[State]) -> dict[str, torch.Tensor]:
    """Every tensor's mean, in double precision: the mean of large numbers is no larger than they are."""
    return {name: torch.stack([state[name].double() for state in states]).mean(0).float() for name in states[0]}


def products_mean(states: Sequence[State]) -> dict[str, torch.Tensor]:
    """The mean of every product, in factors of the rank that came; of what else there is, the plain mean."""
    mean = factors_mean([{name: t for name, t in s.items() if DOWN not in name and UP not in name} for s in states])
    for down in (name for name in states[0] if DOWN in name):
        up = down.replace(DOWN, UP)
        rank = len(states[0][down])
        left = torch.cat([state[up] for state in states], dim=1).double() / len(states)
        right = torch.cat([state[down] for state in states]).double()
        mean[up], mean[down] = (factor.float() for factor in leading(left, right, rank))
    return {name: mean[name] for name in states[0]}


def leading(left: torch.Tensor, right: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors (p, r) and (r, q) of the best approximation of `left @ right` at a rank, zeros where it has no more.

    All size goes to the first; rows of the second have length 1, as those have about that training starts from, so that
    what is still zero can be trained.
    """
    outer, middle = torch.linalg.qr(left)
    inner, other = torch.linalg.qr(right.T)
    u, values, v = torch.linalg.svd(middle @ other.T, full_matrices=False)
    missing = max(rank - len(values), 0)
    return pad(outer @ (u * values)[:, :rank], (0, missing)), pad(v[:rank] @ inner.T, (0, 0, 0, missing))


def turned(state: State, reference: State) -> dict[str, torch.Tensor]:
    """The same products, in factors whose A lie as close to the reference's as a rotation brings them.

    So that the state of an optimiser, which is kept for each entry, still speaks of about the same directions
    (Schoenemann 1966, orthogonal Procrustes).
    """
    found = dict(state)
    for down in (name for name in state if DOWN in name):
        up = down.replace(DOWN, UP)
        u, _, v = torch.linalg.svd(reference[down].double() @ state[down].double().T)
        found[down], found[up] = (u @ v @ state[down].double()).float(), (state[up].double() @ (u @ v).T).float()
    return found
