"""Texts near a present guess: what each change of one token does to what crosses, and which changes together fit.

For every place some candidates are run for real, each alone in the present text. Near it their effects nearly add up,
so that changes of many places at once are weighed as a sum (superposition.py). Words that stand in the wrong order are
moved for real: of an order sums tell little.

Shapes: n places, C candidates, K of them at each place, F features.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch

from .language import Chain
from .pooled import Pooled
from .superposition import LEAST, Superposition, exchanged

SURE = 8.0
"""Log-odds at which the language takes the present text's tokens for right."""
NEAR = 32
"""Candidates of a place, beside the text's own tokens: by what the sum of usual effects lacks, and by the language."""
DOUBTS = (0.5, 0.05)
"""Shares of the present distance that are taken for noise: the more, the more changes are made at once."""
STEPS = 6
"""Exchanges between sum and language."""
DAMPING = 0.5
ALONE, TOGETHER = 24, 64
"""Changes that are tried: of one token, and of two."""
ADDED = 8
"""Tokens that are tried at a place where none was."""
DISTURBED, SHAKEN = 64, 0.4
"""Texts that are drawn where no change comes nearer, and the share of their tokens that are."""
ORDERS = 1024
"""Other orders that are tried at most."""
LONGEST_MOVE = 4
"""Tokens that are moved together at most."""


class Neighbourhood(NamedTuple):
    """What changes of one token do."""

    chosen: torch.Tensor
    """(n, K) candidates; the present text's own tokens among them at every place"""
    effects: torch.Tensor
    """(n, K, F)"""
    lacking: torch.Tensor
    """(F,): what is received less what the present text sends"""
    text: torch.Tensor
    """(n,) the present text"""

    @property
    def distances(self) -> torch.Tensor:
        """(n, K): squared distances after each change; infinite where there is none."""
        found: torch.Tensor = (self.effects - self.lacking).square().sum(2)
        found[self.chosen == self.text.unsqueeze(1)] = torch.inf
        return found


def neighbourhood(pooled: Pooled, language: Chain, text: torch.Tensor, received: torch.Tensor) -> Neighbourhood:
    """Of a text (n,) of candidates."""
    sent = pooled.scale.of(text.unsqueeze(0))[0]
    chosen = _chosen(pooled, language, text, received - sent)
    places, kept = torch.arange(len(text)), chosen.shape[1]
    texts = text.repeat(len(text), kept, 1)
    texts[places.unsqueeze(1), torch.arange(kept), places.unsqueeze(1)] = chosen
    effects = pooled.scale.of(texts.flatten(0, 1)).view(len(text), kept, -1) - sent
    return Neighbourhood(chosen, effects, received - sent, text)


def _chosen(pooled: Pooled, language: Chain, text: torch.Tensor, lacking: torch.Tensor) -> torch.Tensor:
    """Candidates (n, K) worth trying."""
    places, count = torch.arange(len(text)), len(language.first)
    usual = pooled.effects
    wanted = lacking + usual[places, text]
    apart = 2 * torch.bmm(usual, wanted.unsqueeze(2)).squeeze(2) - usual.square().sum(2)
    told = torch.nn.functional.one_hot(text, count) * SURE
    doubt = (lacking.square().mean()).clamp(min=1.0)
    scores = apart / (2 * doubt) + language.expected(told).clamp(min=LEAST).log()
    scores.scatter_(1, text.expand(len(text), -1), torch.inf)
    chosen: torch.Tensor = scores.topk(min(NEAR + len(text), count), dim=1).indices
    return chosen


def weighed(near: Neighbourhood, language: Chain, doubt: float) -> torch.Tensor:
    """Beliefs (n, K) in the chosen tokens if effects added up but for this share of the distance."""
    noise = (doubt * near.lacking.square().mean()).clamp(min=1e-3)
    mixed = Superposition(near.effects, near.lacking, noise.expand(len(near.lacking)))
    among = language.among(near.chosen)
    told = torch.zeros(near.chosen.shape)
    beliefs = among.expected(told)
    for _ in range(STEPS):
        told, beliefs = exchanged(mixed, among, told, beliefs, DAMPING)
    return beliefs


def believed(near: Neighbourhood, beliefs: torch.Tensor) -> torch.Tensor:
    """Texts (B, n) on the way from the present one to the likeliest tokens, the surest change first."""
    likeliest = near.chosen.gather(1, beliefs.argmax(1, keepdim=True)).squeeze(1)
    order = beliefs.amax(1).argsort(descending=True)
    rank = torch.empty_like(order).scatter(0, order, torch.arange(len(order)))
    return likeliest.where(rank <= torch.arange(len(order)).unsqueeze(1), near.text)


def changed(near: Neighbourhood) -> torch.Tensor:
    """Texts (B, n) with the best changes of one token, and of two of which effects add up best."""
    kept = near.chosen.shape[1]
    changes = near.chosen.numel() - len(near.text)
    distances, best = near.distances.flatten().topk(min(TOGETHER, changes), largest=False)
    places, effects = best // kept, near.effects.flatten(0, 1)[best]
    both = distances.unsqueeze(1) + distances + 2 * effects @ effects.T
    both[places.unsqueeze(1) == places] = torch.inf
    pairs = both.flatten().topk(min(TOGETHER, both.numel()), largest=False).indices
    tokens = near.chosen.flatten()[best]
    alone = near.text.repeat(min(ALONE, len(best)), 1)
    alone[torch.arange(len(alone)), places[: len(alone)]] = tokens[: len(alone)]
    two = near.text.repeat(len(pairs), 1)
    for which in (pairs // len(best), pairs % len(best)):
        two[torch.arange(len(two)), places[which]] = tokens[which]
    return torch.cat([alone, two])


def reordered(text: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Texts (B, n) in which two tokens change places, or some neighbours stand elsewhere: of many, some."""
    moves = _moves(len(text))
    drawn = moves[torch.randperm(len(moves), generator=generator)[:ORDERS]].tolist()
    orders = torch.tensor([_moved(len(text), *one) for one in drawn], dtype=torch.int64).view(-1, len(text))
    return text[orders]


def disturbed(text: torch.Tensor, language: Chain, generator: torch.Generator) -> torch.Tensor:
    """Texts (B, n) with other tokens, drawn from the language, at some places: where no change comes nearer."""
    count = len(language.first)
    expected = language.expected(torch.nn.functional.one_hot(text, count) * SURE)
    drawn = torch.multinomial(expected, DISTURBED, replacement=True, generator=generator).T
    return drawn.where(torch.rand(drawn.shape, generator=generator) < SHAKEN, text)


def longer(text: torch.Tensor, language: Chain) -> torch.Tensor:
    """Texts (B, n + 1) with one token more, of those that are likeliest there."""
    found = []
    for place in range(len(text) + 1):
        before, behind = text[:place][-1:], text[place:][:1]
        tokens = language.between(before, behind).topk(min(ADDED, len(language.first))).indices
        rows = text.repeat(len(tokens), 1)
        found.append(torch.cat([rows[:, :place], tokens.unsqueeze(1), rows[:, place:]], 1))
    return torch.cat(found)


def shorter(text: torch.Tensor) -> torch.Tensor:
    """Texts (n, n - 1) with one token less."""
    there = ~torch.eye(len(text), dtype=torch.bool)
    return text.expand(len(text), -1)[there].view(len(text), -1)


@lru_cache(maxsize=4)
def _moves(length: int) -> torch.Tensor:
    """All pieces that may move (B, 3): where they start, how many tokens, and how far on; swaps have 0 tokens."""
    swaps = [(first, 0, second) for first in range(length) for second in range(first + 1, length)]
    lengths = range(1, min(LONGEST_MOVE, length - 1) + 1)
    on = [(at, many, by) for many in lengths for at in range(length - many) for by in range(1, length - many - at + 1)]
    # a piece that moves back by a few tokens is those few moved on; one token that moves by one is a swap
    back = [(at + by, many, -by) for at, many, by in on if by > LONGEST_MOVE]
    moves = [(at, many, by) for at, many, by in on if (many, by) != (1, 1)]
    return torch.tensor([*swaps, *moves, *back], dtype=torch.int64).view(-1, 3)


def _moved(length: int, start: int, many: int, on: int) -> list[int]:
    """The order after a swap of `start` and `on` where `many` is 0, else after a move of so many tokens by `on`."""
    order = list(range(length))
    if not many:
        order[start], order[on] = on, start
        return order
    piece = order[start : start + many]
    rest = order[:start] + order[start + many :]
    return [*rest[: start + on], *piece, *rest[start + on :]]
