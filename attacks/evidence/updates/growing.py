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

from ....system.backbone import Backbone

ROWS = 1024
"""Prefixes of one forward pass."""
AHEAD = 64
"""Prefixes up to which nothing is checked yet."""

Near = Mapping[int, float]
"""Tokens that may stand at a position, with the distance of each."""
Away = Callable[[Sequence[tuple[int, ...]], int], torch.Tensor]
"""Of equally long prefixes the distances of their last few inputs over all spans that are checked: (B, few)."""


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
    """Whether it was grown to the end."""


def grown(form: Form, near: Callable[[int], Near], away: Away, tolerance: float, beam: int) -> Tree:
    """Every text whose prefixes all lie within the tolerance; it ends where more than `beam` prefixes do.

    Prefixes grow unchecked while they are few, and are then checked at all new positions in one pass.
    """
    alive, steps = [form.opening], 0
    ended: dict[tuple[int, ...], None] = {}
    for place in (*form.places, None):
        tokens = list(near(place)) if place is not None else []
        if steps and (not tokens or len(alive) * len(tokens) > AHEAD):
            kept, closed = _checked(form, alive, away, steps, tolerance)
            ended.update(dict.fromkeys(closed))
            alive, steps = kept, 0
            if len(kept) > beam:  # spans that so many prefixes fit tell nothing apart
                return Tree(tuple(map(form.own, ended)), whole=False)
        alive, steps = [(*prefix, token) for prefix in alive for token in tokens], steps + 1
        if not alive:
            break
    return Tree(tuple(map(form.own, ended)), whole=True)


def _checked(
    form: Form, prefixes: Sequence[tuple[int, ...]], away: Away, steps: int, tolerance: float
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Prefixes whose last `steps` tokens all fit, the nearest first, and every text that ends where they still do."""
    parts = [prefixes[start : start + ROWS] for start in range(0, len(prefixes), ROWS)]
    distances = torch.cat([away(part, steps) for part in parts])
    kept, closed = [], []
    for prefix, row in zip(prefixes, distances.tolist(), strict=True):
        right = next((at for at, distance in enumerate(row) if distance > tolerance), steps)
        cuts = (prefix[: len(prefix) - steps + at + 1] for at in range(right))
        closed += [cut for cut in cuts if _closes(form, cut)]
        if right == steps:
            kept.append((max(row), prefix))
    return [prefix for _, prefix in sorted(kept)], closed


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
