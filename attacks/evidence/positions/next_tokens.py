"""Next tokens from the index sets and values of sparse differences (attacks/labels/support.py says how, and why).

Shapes: P positions, s entries, V vocabulary, L layers, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ....system.backbone import Backbone, load_backbone
from ....system.public import Public
from ....system.view import View, finite

ROWS = 256
"""Positions whose probabilities (ROWS, V) are computed at once."""
SHARPEST, BLUNTEST = 1e-4, 10.0
"""Least and most spread that log-probabilities are taken to have."""
FINEST = 1e-6
"""Least spread that lengths and directions of values are taken to have."""
NEAR = 0.1
"""One minus the cosine up to which values point as they should, so that they were not rotated."""
DECIDED = 4.0
"""Nats by which a candidate must lead for its position to be learned from."""
SIGNED = 0.9
"""Share of rows with a positive entry from which values are taken for what they are."""
LEAST = 8
"""Positions that must be decided by their sets before values are asked at all."""


class Rows(NamedTuple):
    """Every position of every sample, end to end."""

    ids: tuple[str, ...]
    lengths: list[int]
    states: torch.Tensor
    """(P, L, d)"""
    indices: torch.Tensor
    """(P, s) int64"""
    values: torch.Tensor
    """(P, s)"""


@torch.no_grad()
def next_texts(view: View, public: Public) -> tuple[tuple[str, ...], list[list[int]]]:
    """Ids and each sample's tokens, from the text's first on, with whatever follows the text."""
    assert public.backbone is not None
    backbone = load_backbone(public.backbone)
    rows = rows_of(view)
    if not rows.ids:
        return (), []
    picked = positions(rows, *recomputed(backbone, rows))
    starts = torch.tensor([0, *rows.lengths[:-1]]).cumsum(0)
    openings = _openings(backbone, rows.states[starts], len(public.facts["layers"]))
    texts = [
        [*opening, *part.tolist()][len(backbone.prefix) :]
        for opening, part in zip(openings, picked.split(rows.lengths), strict=True)
    ]
    return rows.ids, texts


def rows_of(view: View) -> Rows:
    """Positions with both kinds, of each sample's first sighting; activations may have a last position more."""
    sparse = {name: _parts(view, name) for name in ("indices", "values")}
    states: dict[str, torch.Tensor] = {}
    for item in view.sequences():
        if item.sample_id in sparse["indices"]:
            states.setdefault(item.sample_id, item.activations)
    ids = tuple(states)
    lengths = [min(len(states[i]), len(sparse["indices"][i])) for i in ids]
    if not ids:
        return Rows((), [], torch.empty(0), torch.empty(0, dtype=torch.int64), torch.empty(0))
    together = [
        torch.cat([parts[i][:n] for i, n in zip(ids, lengths, strict=True)])
        for parts in (states, sparse["indices"], sparse["values"])
    ]
    return Rows(ids, lengths, together[0], together[1].long(), together[2])


def _parts(view: View, name: str) -> dict[str, torch.Tensor]:
    """A tensor of sparse differences, by sample."""
    found: dict[str, torch.Tensor] = {}
    for message in view.of("difference"):
        lengths = message.tensors.get("lengths", torch.ones(len(message.sample_ids), dtype=torch.int64))
        for sample_id, part in zip(message.sample_ids, message.tensors[name].split(lengths.tolist()), strict=True):
            found.setdefault(sample_id, part)
    return found


def recomputed(backbone: Backbone, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """The public log-probabilities (P, s) of the indices, and (P,) of the s-th likeliest token of all."""
    matrix, at, last = backbone.output_matrix(), [], []
    for states, indices in zip(rows.states.split(ROWS), rows.indices.split(ROWS), strict=True):
        logits = backbone.final_norm(states[:, -1]) @ matrix.T
        chances = logits.log_softmax(1)
        at.append(chances.gather(1, indices.clamp(0, chances.shape[1] - 1)))
        last.append(chances.topk(min(indices.shape[1], chances.shape[1]), dim=1).values[:, -1])
    return torch.cat(at), torch.cat(last)


def untransformed(values: torch.Tensor) -> bool:
    """Whether values (P, s) are those of e_y - p as they are, or scaled: each row's one positive entry is y's.

    Rounding may leave none, where y was all but certain.
    """
    above = (values > 0).sum(1)
    return bool((above <= 1).all()) and float((above == 1).float().mean()) >= SIGNED


def positions(rows: Rows, chances: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """The next token of every position (P,), from log-probabilities (P, s) of its indices and the s-th likeliest's."""
    if untransformed(finite(rows.values)):
        sure = torch.where(rows.values > 0, torch.inf, chances)
        return rows.indices.gather(1, sure.argmax(1, keepdim=True)).squeeze(1)
    strange = (least.unsqueeze(1) - chances).clamp(min=0)
    # a candidate must explain every index that is not among the likeliest: all but its own
    unexplained = strange.sum(1, keepdim=True) - strange
    # with exact states nothing remains for the right one; with rounded states, what does is their blur
    blur = float(unexplained.min(1).values.quantile(0.9).clamp(SHARPEST, BLUNTEST))
    evidence = -unexplained / blur
    decided = _lead(evidence) >= DECIDED
    chosen = evidence.argmax(1)
    evidence = evidence + chances + values_evidence(rows.values, chances.exp(), decided, chosen)
    return rows.indices.gather(1, evidence.argmax(1, keepdim=True)).squeeze(1)


def values_evidence(
    values: torch.Tensor, chances: torch.Tensor, decided: torch.Tensor, chosen: torch.Tensor
) -> torch.Tensor:
    """Log-likelihood (P, s) of values (P, s) for each candidate, by length and by direction.

    How closely they follow e_y - p is learned from the positions whose candidate (P,) is decided.
    """
    if int(decided.sum()) < LEAST:
        return torch.zeros_like(chances)
    values = finite(values.float())
    size = chances.square().sum(1, keepdim=True) - 2 * chances + 1
    received = values.norm(dim=1, keepdim=True).clamp(min=1e-12)
    lengths = received.log() - 0.5 * size.clamp(min=1e-12).log()
    along = values - (values * chances).sum(1, keepdim=True)
    directions = 1 - along / (received * size.sqrt()).clamp(min=1e-12)
    evidence = torch.zeros_like(chances)
    # lengths follow the candidates' where those explain how they vary, directions where they hardly differ
    if _spread(_at(lengths, decided, chosen)) <= max(0.5 * _spread(received[decided].log()), 10 * SHARPEST):
        evidence += _gaussian(lengths, decided, chosen)
    if float(_at(directions, decided, chosen).median()) <= NEAR:
        evidence += _gaussian(directions, decided, chosen)
    return evidence


def _gaussian(statistic: torch.Tensor, decided: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Log-likelihood (P, s) of a statistic, with median and spread as where the candidate (P,) is decided."""
    right = _at(statistic, decided, chosen)
    return -0.5 * ((statistic - right.median()) / max(_spread(right), FINEST)).square().clamp(max=200.0)


def _at(statistic: torch.Tensor, decided: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """A statistic (P, s) of the chosen candidates (P,), at decided positions only."""
    return statistic.gather(1, chosen.unsqueeze(1)).squeeze(1)[decided]


def _spread(values: torch.Tensor) -> float:
    """Standard deviation by the median of distances from the median, which a few wrong ones do not move."""
    return float(1.5 * (values - values.median()).abs().median())


def _lead(evidence: torch.Tensor) -> torch.Tensor:
    """How far the best of each row (P, s) is ahead of the next, (P,)."""
    if evidence.shape[1] < 2:
        return torch.full((len(evidence),), torch.inf)
    best = evidence.topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def _openings(backbone: Backbone, first: torch.Tensor, layers: int) -> Sequence[list[int]]:
    """Each sample's first token: the opening one where there is any, else that whose state is nearest to (B, L, d)."""
    if backbone.prefix:
        return [backbone.prefix[:1]] * len(first)
    everything = torch.arange(backbone.vocabulary).unsqueeze(0)
    known = backbone.branches([[]], everything, layers)[0]
    return [[token] for token in torch.cdist(first[:, -1], known).argmin(1).tolist()]
