"""Rewriting: a text is changed, move by move, until it would have sent what was received.

Where what is sent is nearly a sum of what each token adds at its place, every substitution, exchange and shift has a
predicted effect, in closed form. The moves predicted best, and pairs of them, are tried in earnest; the best texts go
on. The backbone's own language model says what people write: it starts the search, and it weighs substitutions.

Shapes: B texts, n tokens of a text, V vocabulary, F measured dimensions, M moves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch

from .language import Language

SEGMENT = 5
"""Tokens at most that are shifted together."""
PAIRED = 512
"""Substitutions, and rearrangements, of which pairs are made."""
CHUNK = 256
"""Rearranged texts whose effects are summed at a time: bounds memory."""


class Fit(ABC):
    """How far texts of one length are from what was received, measured so that one wrong token is about as far as any.

    A squared distance of 2 weighs as much as one nat of the language model.
    """

    effects: torch.Tensor
    """(n, V, F): what each token adds at each place"""
    usual: torch.Tensor
    """(n, F): what a place adds on average"""

    @abstractmethod
    def residuals(self, texts: torch.Tensor) -> torch.Tensor:
        """What is received less what each text (B, n) would send: (B, F)."""

    def distances(self, texts: torch.Tensor) -> torch.Tensor:
        """Squared lengths of the residuals: (B,)."""
        found: torch.Tensor = self.residuals(texts).square().sum(1)
        return found


@dataclass(frozen=True)
class Effort:
    """How far a search goes."""

    beam: int = 32
    """Beginnings that are kept while a first text is written."""
    kept: int = 4
    """Texts from which moves are made in each step."""
    moves: int = 64
    """Moves of each sort that are tried from each of them."""
    steps: int = 20
    """Steps at most."""


class Rewritten(NamedTuple):
    """The best text that was found."""

    tokens: tuple[int, ...]
    distance: float
    beside: float
    """The nearest predicted distance of a text with one other token."""


@torch.no_grad()
def rewritten(fit: Fit, language: Language, effort: Effort, enough: float) -> Rewritten:
    """The text that fits best; the search ends where a distance is at most `enough`."""
    pool = _nearest(fit, written(fit, language, effort.beam), 2 * effort.kept)
    seen = set(pool)
    for _ in range(effort.steps):
        if min(pool.values()) <= enough:
            break
        texts = torch.tensor(list(pool)[: effort.kept])
        likely, left = language.places(texts), fit.residuals(texts)
        moved = (
            move for i in range(len(texts)) for move in _moves(fit, texts[i], left[i], likely[i], effort.moves)
        )
        fresh = [text for text in dict.fromkeys(moved) if text not in seen]
        if not fresh:
            break
        seen.update(fresh)
        pool = _first({**pool, **_nearest(fit, fresh, 2 * effort.kept)}, 2 * effort.kept)
    best = next(iter(pool))
    text = torch.tensor(best)
    substitutes = _substitutes(fit, text, fit.residuals(text.unsqueeze(0))[0])
    return Rewritten(best, pool[best], float(substitutes.min()))


def written(fit: Fit, language: Language, beam: int) -> list[tuple[int, ...]]:
    """First texts, token by token: those that both the language and the sum of effects find likely."""
    count = len(fit.effects)
    left = fit.residuals(torch.zeros(1, count, dtype=torch.int64)) + fit.effects[:, 0].sum(0) - fit.usual.sum(0)
    texts, scores = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1)
    for place in range(count):
        gains = fit.effects[place] - fit.usual[place]
        gained = left @ gains.T - gains.square().sum(1) / 2
        found = scores.unsqueeze(1) + language.following(texts) + gained
        best = found.flatten().topk(min(beam, found.numel()))
        rows, tokens = best.indices // found.shape[1], best.indices % found.shape[1]
        texts, scores = torch.cat([texts[rows], tokens.unsqueeze(1)], 1), best.values
        left = left[rows] - gains[tokens]
    return [tuple(text) for text in texts.tolist()]


def _moves(
    fit: Fit, text: torch.Tensor, left: torch.Tensor, likely: torch.Tensor, count: int
) -> Iterable[tuple[int, ...]]:
    """The best substitutions by fit, by fit and language; the best rearrangements; the best pairs of these."""
    places = torch.arange(len(text))
    own = fit.effects[places, text]
    distances = _substitutes(fit, text, left)
    nats = distances / 2 - (likely - likely[places, text].unsqueeze(1))
    tried, count = count, min(PAIRED, nats.numel() - len(text))
    by_fit, by_both = (one.flatten().topk(count, largest=False).indices for one in (distances, nats))
    at, token = by_both // nats.shape[1], by_both % nats.shape[1]
    orders, changes = _rearranged(fit, text, left, count)

    substituted = _put(text, at, token)
    yield from _rows(substituted[:tried])
    yield from _rows(_put(text, by_fit[:tried] // nats.shape[1], by_fit[:tried] % nats.shape[1]))
    yield from _rows(text[orders[:tried]])

    # a second move after a substitution: effects add up where they are at different places
    changes = torch.cat([fit.effects[at, token] - own[at], changes])
    product = changes @ changes.T
    alone = product.diagonal() / 2 - changes @ left
    alone[:count] -= likely[at, token] - likely[at, text[at]]
    nats = alone[:count].unsqueeze(1) + alone + product[:count]
    nats[:, :count][at.unsqueeze(1) == at] = torch.inf
    best = nats.flatten().topk(min(2 * tried, nats.numel()), largest=False).indices
    first, second = best // len(changes), best % len(changes)
    twice = second < count
    pair = first[twice], second[twice]
    yield from _rows(substituted[pair[0]].scatter(1, at[pair[1]].unsqueeze(1), token[pair[1]].unsqueeze(1)))
    yield from _rows(substituted[first[~twice]].gather(1, orders[second[~twice] - count]))


def _substitutes(fit: Fit, text: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """Predicted squared distances (n, V) with one other token; infinite for the text itself."""
    places = torch.arange(len(text))
    wanted = left + fit.effects[places, text]
    products = torch.bmm(fit.effects, wanted.unsqueeze(2)).squeeze(2)
    found = wanted.square().sum(1, keepdim=True) - 2 * products + fit.effects.square().sum(2)
    found[places, text] = torch.inf
    return found


def _rearranged(fit: Fit, text: torch.Tensor, left: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The orders (M, n) that are predicted to fit best, and what they change (M, F)."""
    orders = _orders(len(text))
    places = torch.arange(len(text))
    each = fit.effects[:, text]
    each = each - each[places, places].unsqueeze(1)
    changes = torch.cat([each[places, part].sum(1) for part in orders.split(CHUNK)])
    best = (left - changes).square().sum(1).topk(min(count, len(orders)), largest=False).indices
    return orders[best], changes[best]


@lru_cache(maxsize=64)
def _orders(count: int) -> torch.Tensor:
    """Two tokens exchanged, or a few in a row shifted: (M, n) indices into a text."""
    plain = list(range(count))
    found: dict[tuple[int, ...], None] = {}
    for one in range(count):
        for other in range(one + 1, count):
            order = plain.copy()
            order[one], order[other] = order[other], order[one]
            found[tuple(order)] = None
    for size in range(1, min(SEGMENT, count - 1) + 1):
        for start in range(count - size + 1):
            rest = plain[:start] + plain[start + size :]
            shifted = (rest[:to] + plain[start : start + size] + rest[to:] for to in range(count - size + 1))
            found.update(dict.fromkeys(map(tuple, shifted)))
    found.pop(tuple(plain), None)
    return torch.tensor(list(found)).view(-1, count)


def _put(text: torch.Tensor, at: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The text (n,) with one token put in its place, for each of the places: (M, n)."""
    return text.repeat(len(at), 1).scatter(1, at.unsqueeze(1), tokens.unsqueeze(1))


def _rows(texts: torch.Tensor) -> Iterable[tuple[int, ...]]:
    return map(tuple, texts.tolist())


def _nearest(fit: Fit, texts: list[tuple[int, ...]], count: int) -> dict[tuple[int, ...], float]:
    """The nearest texts in order, with their distances."""
    return _first(dict(zip(texts, fit.distances(torch.tensor(texts)).tolist(), strict=True)), count)


def _first(pool: dict[tuple[int, ...], float], count: int) -> dict[tuple[int, ...], float]:
    return dict(sorted(pool.items(), key=lambda item: item[1])[:count])
