"""What people write, as a chain: how likely each token is behind the one before it.

The backbone's own language model says it, read behind every single token; the words of auxiliary texts, and a text's
topics where something is known of them, may stand anywhere.

Shapes: C candidate tokens, n places, B tokens of one forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ...system.backbone import Backbone

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

    def expected(self, likelihoods: torch.Tensor) -> torch.Tensor:
        """Of each place's token, by what else tells of all other places' tokens, as log-likelihoods: both (n, C)."""
        weights = (likelihoods - likelihoods.amax(1, keepdim=True)).exp()
        before = [(1 - self.share) * self.first + self.share * self.anywhere]
        for row in weights[:-1]:
            before.append(self._next(_unit(before[-1] * row)))
        behind = [torch.ones_like(self.first)]
        for row in weights[1:].flip(0):
            behind.append(_unit(self._previous(_unit(behind[-1] * row))))
        both = torch.stack(before) * torch.stack(behind[::-1])
        return both / both.sum(1, keepdim=True).clamp(min=torch.finfo(both.dtype).tiny)

    def _next(self, weights: torch.Tensor) -> torch.Tensor:
        return (1 - self.share) * (weights @ self.following) + self.share * weights.sum() * self.anywhere

    def _previous(self, weights: torch.Tensor) -> torch.Tensor:
        return (1 - self.share) * (self.following @ weights) + self.share * (weights @ self.anywhere)


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
