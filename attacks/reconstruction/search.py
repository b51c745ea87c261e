"""Text from pooled states, by a search for the text that sends them.

The mean over positions is nearly a sum of what each token adds at its place (evidence/pivots/pooled.py). That sum is
taken apart with the backbone's own language model, which gives a first text, mostly with wrong words in a wrong order.
From there on changes are run through the backbone for real: of one token, of several at once whose effects are weighed
as a sum, and of order (evidence/pivots/neighbours.py). What comes nearest to the received states is changed again,
until the text sends what was received.

Threat model: a server that knows the backbone and the prompt, and receives pooled states; it knows neither text nor
length.
Source: ours. Relatives are the hidden-state matching of SipIt (arXiv 2510.15511), which knows all positions, and greedy
coordinate search in prompts (arXiv 2307.15043).

Cost: a round runs up to some thousand texts through the first two layers. Memory: what every candidate adds at every
place takes three times ENTRIES numbers (evidence/pivots/beforehand.py) at most.

Shapes: N samples, n tokens of a text, L layers, d width, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch

from ...system.backbone import load_backbone
from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.pivots.beforehand import as_candidates, beforehand, stored_chain
from ..evidence.pivots.neighbours import (
    DOUBTS,
    believed,
    changed,
    disturbed,
    longer,
    neighbourhood,
    reordered,
    shorter,
    weighed,
)
from ..evidence.pivots.pooled import Pooled, Scale, Table
from ..evidence.pivots.reference import read_lengths
from ..evidence.pivots.superposition import Effort, decoded
from ..evidence.states import FACTS, PLAIN, asked_states, exactly_sent, form_of
from ..evidence.token_states import states_of_tokens
from ..workbench import Workbench

LAYERS = 2
"""Of those that cross, the first ones are matched; all of them check the result."""
LENGTHS = 2
"""Lengths whose sums are kept: samples come in order of theirs."""
PROGRESS = 0.9
"""Of its distance a text keeps at most this share where a way of changing it is gone on with."""
OPENING = Effort(steps=12, kept=512)
DAMPING = 0.5
SAME = 1e-2
"""Squared distance, beside noise and rounding, within which a text sends what was received."""
LOOSE = 1.3
"""Times the distance that noise and rounding are expected to make: four standard deviations of some hundred values."""
DEEPER = 1e-3
"""Relative distance of all layers within which a text is certified: rounding of other batches and orders of sums."""


@dataclass(frozen=True)
class Search(Attack):
    """From a first text by sums to the one that sends what was received."""

    name = "search"
    source = "ours"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **CAUSAL_ONLY,
        "positions": ("mean",),
        "selector": ("mean",),
        "activations": (PLAIN,),
    }
    studies = Studied(frozenset({"backbone", "auxiliary"}), FACTS, frozenset({"candidates"}))

    candidates: int = 4096
    """Tokens that may stand in a text: the most frequent ones of what the attacker takes people to write."""
    rounds: int = 48
    """Of changes to a text, at most."""
    tokens: int = 2**22
    """Of texts, without what stands around them, that run through the first layers to search, at most.

    Texts behind are left as sums gave them. What it takes to list what candidates add is not counted.
    """

    def __post_init__(self) -> None:
        for name, least in (("candidates", 1), ("rounds", 0), ("tokens", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; give at least {least}")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """What people may write, how lengths are read off pivots, and the chain of tokens."""
        return beforehand(public, self.candidates, len(public.facts["layers"][:LAYERS]), generator)

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text for every asked sample."""
        ids, states = asked_states(view, public)
        if not ids:
            return TextGuess((), ())
        texts = Searching(public, prepared, self, generator).texts(states)
        sure = tuple(t.sure for t in texts) if exactly_sent(public.facts) else ()
        return TextGuess(ids, tuple(t.tokens for t in texts), sure)


class Nearest(NamedTuple):
    """A text, and its squared distance from what was received."""

    text: torch.Tensor
    """(n,) candidates"""
    distance: float


Way = Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]]
"""From a text (n,) and received features (F,) to changed texts, (B, n) of each length."""


class Searched(NamedTuple):
    """A text, and whether it alone, of all that were tried, sends what was received."""

    tokens: tuple[int, ...]
    sure: bool


class Searching:
    """Searches for the texts of many samples, one after the other."""

    def __init__(self, public: Public, prepared: Prepared, effort: Search, generator: torch.Generator) -> None:
        assert public.backbone is not None
        self._backbone, self._form = load_backbone(public.backbone), form_of(public.facts)
        self._prepared, self._effort, self._generator = prepared, effort, generator
        self._layers: list[int] = public.facts["layers"]
        self._longest = int(public.facts["longest"])
        first = self._layers[:LAYERS]
        texts = as_candidates(prepared, self._backbone)
        self._chain, self._features = stored_chain(prepared), len(first) * self._backbone.width
        table = Table(self._backbone, first, prepared["candidates"], texts, generator)
        self._scale = Scale(table, self._form, prepared["lengths"].tolist() or [self._longest], generator)
        self._pooled = lru_cache(maxsize=LENGTHS)(lambda length: Pooled(self._scale, length))

    def texts(self, states: torch.Tensor) -> list[Searched]:
        """Of received states (N, L, d)."""
        lengths = read_lengths(states, self._prepared)[:, 0].tolist()
        # samples of a length share its sums; where the effort ends, no lengths are preferred
        turns = torch.randperm(self._longest + 1, generator=self._generator).tolist()
        order = sorted(range(len(states)), key=lambda row: turns[lengths[row]])
        found = {row: self._text(lengths[row], states[row]) for row in order}
        return [found[row] for row in range(len(states))]

    def _text(self, length: int, states: torch.Tensor) -> Searched:
        """The best text for states (L, d), first of a length."""
        received = states.flatten()[: self._features] @ self._scale.whitener
        enough = SAME + LOOSE * self._scale.rounding
        opening = decoded(self._pooled(length).sum_to(received), self._chain, DAMPING, OPENING, 0.0).tokens
        best = here = self._best(received, [opening.unsqueeze(0)])
        ways: list[Way] = [self._other_words, self._other_order]
        still = 0
        for _ in range(self._effort.rounds):
            if best.distance <= enough or self._scale.tokens > self._effort.tokens:
                break
            if still == len(ways):
                here, still = self._best(received, [disturbed(best.text, self._chain, self._generator)]), 0
            nearest = self._best(received, ways[0](here.text, received))
            # as long as one way of changing a text comes much nearer, it is gone on with
            if nearest.distance > PROGRESS * here.distance:
                ways.reverse()
            still = 0 if nearest.distance < here.distance else still + 1
            here = min(here, nearest, key=lambda one: one.distance)
            best = min(best, here, key=lambda one: one.distance)
        return Searched(self._tokens(best.text), self._sure(best, states, received, enough))

    def _other_words(self, text: torch.Tensor, received: torch.Tensor) -> list[torch.Tensor]:
        """Texts (B, n) with other tokens in the places of a text (n,)."""
        near = neighbourhood(self._pooled(len(text)), self._chain, text, received)
        found = [believed(near, weighed(near, self._chain, doubt)) for doubt in DOUBTS]
        return [torch.cat([changed(near), *found]).unique(dim=0)]

    def _other_order(self, text: torch.Tensor, received: torch.Tensor) -> list[torch.Tensor]:
        """Texts with the tokens of a text (n,) in another order, or with one more or less: (B, n) of each length."""
        found = [reordered(text, self._generator)]
        found += [longer(text, self._chain)] if len(text) < self._longest else []
        return [*found, shorter(text)] if len(text) > 1 else found

    def _best(self, received: torch.Tensor, texts: list[torch.Tensor]) -> Nearest:
        """Of texts, each (B, n) of a length, the one that sends what is nearest; at infinity where there is none."""
        best = Nearest(torch.zeros(0, dtype=torch.int64), torch.inf)
        for some in filter(len, texts):
            distances = (self._scale.of(some) - received).square().sum(1)
            if float(distances.min()) < best.distance:
                best = Nearest(some[distances.argmin()], float(distances.min()))
        return best

    def _tokens(self, text: torch.Tensor) -> tuple[int, ...]:
        return tuple(self._prepared["candidates"][text].tolist())

    def _sure(self, best: Nearest, states: torch.Tensor, received: torch.Tensor, enough: float) -> bool:
        """Whether all layers agree with the text, and the first of them with no other token or order that is tried."""
        tokens = self._tokens(best.text)
        made = states_of_tokens(self._backbone, [tokens], self._form, self._layers)[0]
        if best.distance > enough or float((made - states).norm() / states.norm()) > DEEPER:
            return False
        near = neighbourhood(self._pooled(len(tokens)), self._chain, best.text, received)
        others = [text for text in self._other_order(best.text, received) if len(text)]
        nearest = min(float(near.distances.min()), self._best(received, _without(best.text, others)).distance)
        return nearest > enough


def _without(text: torch.Tensor, others: list[torch.Tensor]) -> list[torch.Tensor]:
    """Texts (B, n) of each length that differ from one."""
    return [some[(some != text).any(1)] if some.shape[1] == len(text) else some for some in others]
