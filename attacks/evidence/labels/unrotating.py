"""Rotated activations turned back by public texts: how the states of texts lie says where each layer was turned to.

A secret orthogonal map of each layer keeps the layer's own covariance up to the turn, and the layers of one sample stay
together. So three things are aligned with the states of the attacker's own texts, which are of the same kind but not
the same:

1. what turns each layer nearest to the one below it, which leaves one turn for all layers;
2. second moments, by their eigenvectors, the signs of which third moments and means decide;
3. the rows themselves: a soft matching of samples and texts and the turn that it asks for, in turn (Procrustes), in few
   directions first and all in the end, as the matching becomes sharper.

Sources: Wasserstein-Procrustes, Grave, Joulin and Berthet (arXiv 1805.11222); Sinkhorn's iterations, Cuturi (arXiv
1306.0895, algorithm 1); Procrustes: Schonemann 1966. The order of the steps and the starts are ours.

Shapes: N samples, M texts, L layers, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import normalize

ROUNDS = 30
SHARPNESS = (0.4, 0.02)
"""Entropy of the matching at first and in the end, in units of a row's mean squared distance from the mean."""
DIRECTIONS = (8, 16, 32, 64, 128)
"""In which rows are compared at first, by variance; then in all."""
STEPS = 30
HEED = 0.3
"""How much what no rotation hides counts in the end, where it counts 1 at first."""
MOST = 1000
"""Rows on either side that are matched: bounds the memory to a matrix of their numbers."""


class Seen(NamedTuple):
    """What no rotation hides, of samples and of texts alike, such as the backbone's output that a difference holds."""

    received: torch.Tensor
    """(N, F)"""
    texts: torch.Tensor
    """(M, F)"""

    def costs(self) -> torch.Tensor:
        """(N, M) squared distances, each column in units of the texts' standard deviation, their mean over columns."""
        middle, spread = self.texts.mean(0), self.texts.std(0, correction=0).clamp(min=1e-9)
        mine, others = ((rows - middle) / spread for rows in self)
        return torch.cdist(mine, others).square() / mine.shape[1]


def unrotated(received: torch.Tensor, texts: torch.Tensor, seen: Seen | None = None) -> torch.Tensor:
    """Rotated states (N, L, d) as they may have been, by the states (M, L, d) of other texts."""
    parts = [slice(None, None, len(rows) // MOST + 1) for rows in (received, texts)]
    kept = None if seen is None else Seen(seen.received[parts[0]], seen.texts[parts[1]])
    return torch.einsum("nld,lde->nle", received, rotations(received[parts[0]], texts[parts[1]], kept))


def rotations(received: torch.Tensor, texts: torch.Tensor, seen: Seen | None = None) -> torch.Tensor:
    """(L, d, d): received rows (N, d) of a layer times its matrix lie as those (M, d) of texts do."""
    mine, others = chained(received), chained(texts)
    one, other = (torch.einsum("nld,lde->nle", rows, turns) for rows, turns in ((received, mine), (texts, others)))
    turn = matched(one, other, by_moments(one, other), seen)
    return mine @ turn @ others.transpose(1, 2)


def chained(states: torch.Tensor) -> torch.Tensor:
    """(L, d, d): what turns every layer of states (N, L, d) nearest to the first, one layer after the other."""
    centred = states - states.mean(0)
    turns = [torch.eye(states.shape[2])]
    for layer in range(1, states.shape[1]):
        turns.append(procrustes(centred[:, layer], centred[:, layer - 1]) @ turns[-1])
    return torch.stack(turns)


def by_moments(received: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """(d, d) that aligns the moments of all layers of received states (N, L, d) with those of texts (M, L, d)."""
    weights = _weights(texts)
    bases, skews, means = zip(*(_moments(states, weights) for states in (received, texts)), strict=True)
    alike = (skews[0] * skews[1]).sum(0) + (means[0] * means[1]).sum(0)
    aligned: torch.Tensor = bases[0] @ torch.where(alike < 0, -1.0, 1.0).diag() @ bases[1].T
    return aligned


def _moments(states: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eigenvectors (d, d) of the covariance of all layers, and along each the skewness and the mean of a layer (L, d).

    Both in units of the standard deviation.
    """
    centred = states - states.mean(0)
    basis = _directions(centred, weights)
    along = centred @ basis
    spread = along.square().mean(0).sqrt().clamp(min=1e-6)
    return basis, along.pow(3).mean(0) / spread.pow(3), states.mean(0) @ basis / spread


def matched(received: torch.Tensor, texts: torch.Tensor, turn: torch.Tensor, seen: Seen | None = None) -> torch.Tensor:
    """(d, d) from a start (d, d): the turn under which rows (N, L, d) and (M, L, d) match, all layers at once."""
    known = torch.zeros(()) if seen is None else seen.costs()
    weights = _weights(texts).unsqueeze(1)
    basis = _directions(texts - texts.mean(0), weights.squeeze(1))
    for step in range(ROUNDS):
        stage = step * (len(DIRECTIONS) + 1) // ROUNDS
        kept = basis[:, : DIRECTIONS[stage]] if stage < len(DIRECTIONS) else basis
        mine, others = ((states @ kept * weights).flatten(1) for states in (received @ turn, texts))
        costs = torch.cdist(mine, others).square() / received.shape[1]
        # a start by moments is no better than chance where something else says who is like whom
        costs = known if seen is not None and step == 0 else costs + known * HEED ** (step / ROUNDS)
        first, last = SHARPNESS
        plan = coupling(costs, first * (last / first) ** (step / ROUNDS))
        wanted = torch.einsum("nm,mld->nld", normalize(plan, p=1, dim=1), texts)
        turn = procrustes((received * weights).flatten(0, 1), (wanted * weights).flatten(0, 1))
    return turn


def coupling(costs: torch.Tensor, entropy: float) -> torch.Tensor:
    """(N, M) the matching of least cost (N, M) less entropy, each side's rows with equal shares (Sinkhorn)."""
    kernel = -costs / entropy
    rows, columns = torch.zeros(len(costs), 1), torch.zeros(costs.shape[1])
    for _ in range(STEPS):
        rows = -(kernel + columns).logsumexp(1, keepdim=True)
        columns = -(kernel + rows).logsumexp(0) + torch.tensor(len(costs) / costs.shape[1]).log()
    return (kernel + rows + columns).exp()


def procrustes(rows: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
    """The orthogonal matrix (d, d) that brings rows (N, d) nearest to goals (N, d)."""
    left, _, right = torch.linalg.svd((rows.T @ goals).double())
    turned: torch.Tensor = left @ right
    return turned.float()


def _weights(states: torch.Tensor) -> torch.Tensor:
    """(L,) that give every layer of states (N, L, d) a mean squared distance of 1 from its mean."""
    return 1 / (states - states.mean(0)).square().sum(2).mean(0).clamp(min=1e-12).sqrt()


def _directions(centred: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(d, d) eigenvectors of all layers' covariance together, those of most variance first."""
    rows = (centred * weights.unsqueeze(1)).flatten(0, 1).double()
    found: torch.Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1)
    return found.float()
