"""Growing: texts put together token by token, from what may stand at each position.

Where spans behind an attention are seen, a prefix is kept if its inputs lie in them: in a causal model that tells which
tokens stand in one text. Where none is, or where it has lost some texts, the language model says which of the tokens
follow one another; that is a guess.

Shapes: B prefixes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from ...system.backbone import Backbone

ROWS = 1024
"""Prefixes of one forward pass."""

Near = Mapping[int, float]
"""Tokens that may stand at a position, with the distance of each."""
Away = Callable[[Sequence[tuple[int, ...]]], Sequence[float]]
"""Of equally long prefixes the distance of their last input, over all spans that are checked."""


class Form(NamedTuple):
    """What stands around a text's own tokens."""

    opening: tuple[int, ...]
    tail: tuple[int, ...]
    """The prompt, behind the text."""
    longest: int

    @property
    def places(self) -> range:
        """Where own tokens and the prompt may stand."""
        return range(len(self.opening), len(self.opening) + self.longest + len(self.tail))

    def own(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """A whole text's own tokens."""
        return tokens[len(self.opening) : len(tokens) - len(self.tail)]


class Tree(NamedTuple):
    """What was grown."""

    texts: tuple[tuple[int, ...], ...]
    """Own tokens of each text behind which the prompt stands."""
    whole: bool
    """Whether no prefix was left out for want of room."""


def grown(form: Form, near: Callable[[int], Near], away: Away, tolerance: float, beam: int) -> Tree:
    """Every text whose prefixes all lie within the tolerance; `beam` prefixes of each length at most."""
    alive: list[tuple[int, ...]] = [form.opening]
    ended, whole = [], True
    for place in form.places:
        longer = [(*prefix, token) for prefix in alive for token in near(place)]
        parts = [longer[start : start + ROWS] for start in range(0, len(longer), ROWS)]
        distances = [distance for part in parts for distance in away(part)]
        kept = sorted((d, prefix) for d, prefix in zip(distances, longer, strict=True) if d <= tolerance)
        whole = whole and len(kept) <= beam
        alive = [prefix for _, prefix in kept[:beam]]
        ended += [prefix for prefix in alive if _closes(form, prefix)]
        if not alive:
            break
    return Tree(tuple(map(form.own, ended)), whole)


def _closes(form: Form, prefix: tuple[int, ...]) -> bool:
    """Whether the prompt stands behind own tokens; without a prompt every prefix may be a text."""
    behind = len(prefix) - len(form.opening) - len(form.tail)
    return behind > 0 and prefix[len(prefix) - len(form.tail) :] == form.tail


def likely(
    form: Form, near: Callable[[int], Near], starts: Sequence[int], backbone: Backbone, beam: int
) -> list[tuple[int, ...]]:
    """From each start the text that the language model finds likeliest among those that the positions allow."""
    alive = {start: [((*form.opening, start), 0.0)] for start in starts}
    best: dict[int, tuple[float, tuple[int, ...]]] = {}
    width = max(1, beam // max(1, len(starts)))
    for place in form.places[1:]:
        ends = bool(form.tail) and all(token in near(place + i) for i, token in enumerate(form.tail))
        for start, prefixes in alive.items() if ends else ():
            worth, tokens = max((score / (place - len(form.opening)), tokens) for tokens, score in prefixes)
            best[start] = max(best.get(start, (worth, ())), (worth, tokens[len(form.opening) :]))
        if not near(place):
            break
        alive = _followed(alive, list(near(place)), backbone, width)
    return [tokens for _, tokens in best.values() if tokens]


def _followed(
    alive: Mapping[int, list[tuple[tuple[int, ...], float]]], tokens: list[int], backbone: Backbone, width: int
) -> dict[int, list[tuple[tuple[int, ...], float]]]:
    """Each start's likeliest prefixes with one token more, with their log-likelihoods."""
    prefixes = [(start, prefix, score) for start, ones in alive.items() for prefix, score in ones]
    ids = torch.tensor([prefix for _, prefix, _ in prefixes])
    chances = backbone.model(input_ids=ids).logits[:, -1].log_softmax(1)[:, tokens].tolist()
    found: dict[int, list[tuple[tuple[int, ...], float]]] = {start: [] for start in alive}
    for (start, prefix, score), row in zip(prefixes, chances, strict=True):
        found[start] += [((*prefix, token), score + chance) for token, chance in zip(tokens, row, strict=True)]
    return {start: sorted(ones, key=lambda one: -one[1])[:width] for start, ones in found.items()}
