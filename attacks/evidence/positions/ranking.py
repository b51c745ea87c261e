"""Which tokens a state after a block may stand for, in closed form: no token is run behind the text.

Every token of the vocabulary is run once alone, behind the opening tokens. Other text around it moves its state; how
far, and in which directions, is fitted on auxiliary text: a linear correction of the lone state (ridge, shrunk to
none), and the covariance of what remains. Tokens are ranked by the Mahalanobis distance under that covariance.

Shapes: N states, V vocabulary, d width, k ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ....system.backbone import Backbone
from ...attack import Prepared

ROWS = 4096
"""Tokens run in one pass."""

SHRINK = 0.1
"""Of the correction and of the covariance, over the mean variance: small fits need it, large ones do not mind."""

SCORES = 2**24
"""Scores held at a time, four bytes each."""


def fit(backbone: Backbone, block: int, states: torch.Tensor, tokens: torch.Tensor) -> Prepared:
    """From auxiliary states (N, d), as received, and their tokens (N,): `whiten` (d, d) and `table` (V, d)."""
    table = _alone(backbone, block)
    inputs = _with_one(table[tokens] - table.mean(0))
    spread = inputs[:, :-1].square().mean()
    penalty = SHRINK * len(inputs) * spread * torch.eye(inputs.shape[1])
    penalty[-1, -1] = SHRINK  # the constant is hardly shrunk
    gram = inputs.T @ inputs + penalty
    correction = torch.linalg.solve(gram, inputs.T @ (states - table[tokens]))
    moved = table + _with_one(table - table.mean(0)) @ correction
    left = states - moved[tokens]
    covariance = left.T @ left / max(len(left), 1)
    covariance += (SHRINK * covariance.diagonal().mean() + torch.finfo(torch.float32).eps) * torch.eye(len(covariance))
    whiten = torch.linalg.inv(torch.linalg.cholesky(covariance)).T.contiguous()
    return {"whiten": whiten, "table": moved @ whiten}


def ranked(prepared: Prepared, states: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` likeliest tokens of each state (N, d), the likeliest first: (N, k)."""
    return _nearest(prepared["table"], states @ prepared["whiten"], count)


def neighbours(prepared: Prepared, tokens: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` other tokens that are hardest to tell from each token (N,), the hardest first: (N, k)."""
    each, places = tokens.unique(return_inverse=True)
    found = _nearest(prepared["table"], prepared["table"][each], min(count + 1, len(prepared["table"])))
    order = (found == each.unsqueeze(1)).int().argsort(dim=1, stable=True)  # itself last
    return found.gather(1, order)[:, : found.shape[1] - 1][places]


def _nearest(table: torch.Tensor, whitened: torch.Tensor, count: int) -> torch.Tensor:
    lengths = table.square().sum(1) / 2
    step = max(1, SCORES // len(table))
    scored = ((part @ table.T).sub_(lengths) for part in whitened.split(step))
    return torch.cat([scores.topk(count, dim=1).indices for scores in scored])


def _alone(backbone: Backbone, block: int) -> torch.Tensor:
    """The state of every token behind the opening tokens alone: (V, d)."""
    found: list[torch.Tensor] = []
    for part in torch.arange(backbone.vocabulary).split(ROWS):
        rows: Sequence[Sequence[int]] = [[*backbone.prefix, token] for token in part.tolist()]
        found.append(backbone.activations(backbone.pad(rows), block)[:, -1, -1].clone())
    return torch.cat(found)


def _with_one(states: torch.Tensor) -> torch.Tensor:
    """(N, d) to (N, d + 1): a column of ones carries the constant."""
    return torch.cat([states, torch.ones(len(states), 1)], 1)
