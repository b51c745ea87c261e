"""What people write, as a chain: how likely each token is behind the one before it.

The backbone's own language model says it, read behind every single token; the words of auxiliary texts, and a text's
topics where something is known of them, may stand anywhere.

Shapes: C candidate tokens, n places, B tokens of one forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from ....system.backbone import Backbone

BATCH = 512
ANYWHERE = 0.05
"""Share of tokens that are drawn from what people write on the whole."""
TOPICS = 0.3
"""Share that is drawn from a text's topics."""
UNSEEN = 0.1
"""Times that every token counts as seen beforehand."""


def frequencies(texts: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """How frequent each token is in texts (any shape): (vocabulary,)."""
    seen = torch.bincount(texts.flatten(), minlength=vocabulary) + UNSEEN
    return seen / seen.sum()


@dataclass(frozen=True)
class Chain:
    """Probabilities of tokens, each behind the one before it."""

    first: torch.Tensor
    """(C,) at the first place"""
    following: torch.Tensor
    """(C, C) from a token to the next"""
    anywhere: torch.Tensor
    """(C,) wherever they stand"""
    share: float = ANYWHERE
    """Of tokens that are drawn from `anywhere`."""

    def about(self, topics: torch.Tensor) -> Chain:
        """With topics (C,)."""
        share = self.share + TOPICS
        return replace(self, anywhere=(self.share * self.anywhere + TOPICS * topics) / share, share=share)

    def between(self, before: torch.Tensor, behind: torch.Tensor) -> torch.Tensor:
        """Chances (C,) of a token between two, each of which may be missing: (0,) or (1,)."""
        own, added = 1 - self.share, self.share * self.anywhere
        found = own * (self.following[before[0]] if len(before) else self.first) + added
        return found * (own * self.following[:, behind[0]] + added[behind[0]]) if len(behind) else found

    def among(self, chosen: torch.Tensor) -> Narrowed:
        """Over some candidates of each place alone, by index (n, K)."""
        following = [self.following[before.unsqueeze(1), after] for before, after in pairwise(chosen)]
        return Narrowed(self.first[chosen[0]], following, self.anywhere[chosen], self.share)

    def expected(self, likelihoods: torch.Tensor) -> torch.Tensor:
        """Of each place's token, by what else tells of all other places' tokens, as log-likelihoods: both (n, C)."""
        count = len(likelihoods)
        steps, anywhere = [self.following] * (count - 1), self.anywhere.expand(count, -1)
        return Narrowed(self.first, steps, anywhere, self.share).expected(likelihoods)


@dataclass(frozen=True)
class Narrowed:
    """The same, with candidates of its own (K) at each place."""

    first: torch.Tensor
    """(K,)"""
    following: Sequence[torch.Tensor]
    """(K, K) each: from a place to the next"""
    anywhere: torch.Tensor
    """(n, K)"""
    share: float

    def expected(self, likelihoods: torch.Tensor) -> torch.Tensor:
        """As `Chain.expected`: (n, K)."""
        if not len(likelihoods):
            return likelihoods
        weights = (likelihoods - likelihoods.amax(1, keepdim=True)).exp()
        own, anywhere = 1 - self.share, self.share * self.anywhere
        before = [own * self.first + anywhere[0]]
        for row, step, added in zip(weights[:-1], self.following, anywhere[1:], strict=True):
            told = _unit(before[-1] * row)
            before.append(own * (told @ step) + added)
        behind = [torch.ones_like(anywhere[-1])]
        for row, step, added in zip(weights[1:].flip(0), self.following[::-1], anywhere[1:].flip(0), strict=True):
            told = _unit(behind[-1] * row)
            behind.append(_unit(own * (step @ told) + told @ added))
        both = torch.stack(before) * torch.stack(behind[::-1])
        return both / both.sum(1, keepdim=True).clamp(min=torch.finfo(both.dtype).tiny)


@torch.no_grad()
def chain_of(backbone: Backbone, candidates: torch.Tensor, frequent: torch.Tensor) -> Chain:
    """The backbone's chain over candidate tokens (C,), with their frequencies (vocabulary,)."""
    opening = torch.tensor(backbone.prefix, dtype=torch.int64)
    rows = [_behind(backbone, opening.expand(len(part), -1), part)[:, candidates] for part in candidates.split(BATCH)]
    anywhere = _unit(frequent[candidates])
    first = _behind(backbone, opening.unsqueeze(0), None)[0, candidates] if len(opening) else anywhere
    return Chain(_unit(first), torch.cat([part / part.sum(1, keepdim=True) for part in rows]), anywhere)


def _behind(backbone: Backbone, opening: torch.Tensor, tokens: torch.Tensor | None) -> torch.Tensor:
    """Probabilities of the next token (B, vocabulary)."""
    ids = opening if tokens is None else torch.cat([opening, tokens.unsqueeze(1)], 1)
    found: torch.Tensor = backbone.model(input_ids=ids).logits[:, -1].softmax(1)
    return found


def _unit(weights: torch.Tensor) -> torch.Tensor:
    return weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
