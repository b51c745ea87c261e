"""Text from one position's state after the first block: its attention is a sum over the text's tokens.

Before the first block nothing depends on a token's neighbours, so that every token at every place has a known weight w
and value v in each head. The block is inverted at the pivot, which gives the attention's output o; then the sum of
w (v - o) over the text's tokens is zero in all heads at once (attacks/evidence/pivot_attention.py). It is taken apart
with the backbone's own language model (attacks/evidence/superposition.py). Deeper layers check the result.

Threat model: a server that knows the backbone and the prompt, and receives the pivot's states; it knows neither text nor
length. Without a prompt the pivot's own token is not known, and the attack does not apply.
Source: ours; relatives are the span check of DAGER (arXiv 2405.15586) and SipIt (arXiv 2510.15511).

Shapes: N samples, n tokens of a text, C candidates, d width, M reference texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import ClassVar, NamedTuple, cast

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.codec import Precision
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.first_attention import FirstAttention
from ..evidence.language import Chain, chain_of, frequencies
from ..evidence.pivot_attention import Around, PivotAttention, System
from ..evidence.reference import lengths_of, pivots_of, read_lengths, reference_texts
from ..evidence.states import FACTS, form_of
from ..evidence.superposition import Decoded, Effort, Superposition, decoded
from ..workbench import Workbench

ENOUGH = 2.0
"""Squared distance, in units of the noise, at which a sum counts as taken apart."""
LENGTHS = 3
"""Lengths of a text that are tried, the likeliest first."""
DAMPINGS = (0.5, 0.7)
"""Of attempts at the same sum, in turn: the less, the faster; the more, the surer."""
DEEPER = 1e-3
"""Relative distance of all layers within which a text is certified: rounding of other batches and orders of sums."""


@dataclass(frozen=True)
class Unmix(Attack):
    """The first attention at the pivot as a linear system in tokens."""

    name = "unmix"
    source = "ours"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"positions": ("pivot",), "selector": ("last",)}
    studies = Studied(frozenset({"backbone", "auxiliary"}), FACTS, frozenset({"candidates"}))

    candidates: int = 4096
    """Tokens that may stand in a text: the most frequent ones of what the attacker takes people to write."""
    effort: Effort = Effort()

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`texts` (M, longest): what people may write; how lengths are read off pivots; the chain of tokens."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        texts = reference_texts(backbone, public, generator)
        frequent = frequencies(texts, backbone.vocabulary)
        chosen = frequent.topk(min(self.candidates, backbone.vocabulary)).indices.sort().values
        chain = chain_of(backbone, chosen, frequent)
        found = {"texts": texts, "candidates": chosen, **lengths_of(backbone, public, texts, generator)}
        return {**found, "first": chain.first, "following": chain.following, "anywhere": chain.anywhere}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text for every asked sample."""
        wanted = frozenset(public.targets)
        found = {s.sample_id: s.activations[-1] for s in view.sequences() if not wanted or s.sample_id in wanted}
        if not found:
            return TextGuess((), ())
        states = torch.stack(list(found.values()))
        texts = Unmixing(public, prepared, self.effort, generator).texts(states)
        exact = public.facts.get("precision", "fp32") in ("fp32", "fp16")
        return TextGuess(tuple(found), tuple(t.tokens for t in texts), tuple(t.sure for t in texts) if exact else ())


class Unmixed(NamedTuple):
    """A text, and whether it alone, of all that differ in one token, gives what was received."""

    tokens: tuple[int, ...]
    sure: bool


class Unmixing:
    """Takes apart the sums of many samples; what is left of the effort goes to those that resist."""

    def __init__(self, public: Public, prepared: Prepared, effort: Effort, generator: torch.Generator) -> None:
        assert public.backbone is not None
        self._backbone, self._form = load_backbone(public.backbone), form_of(public.facts)
        self._prepared, self._effort, self._generator = prepared, effort, generator
        self._layers: list[int] = public.facts["layers"]
        self._chain = Chain(prepared["first"], prepared["following"], prepared["anywhere"])
        tail = tuple(self._backbone.token_ids(self._form.prompt))
        around = Around(tuple(self._backbone.prefix), tail)
        first = FirstAttention(public.backbone)
        self._system = cache(self._system_of)
        self._attention = PivotAttention(first, around, prepared["candidates"], cast(Precision, self._form.precision))

    def texts(self, states: torch.Tensor) -> list[Unmixed]:
        """Of received states (N, L, d)."""
        lengths = read_lengths(states, self._prepared["means"], self._prepared["whitener"])[:, :LENGTHS].tolist()
        found: dict[int, Unmixed] = {}
        left = self._effort.attempts * len(states)
        for row in sorted(range(len(states)), key=lengths.__getitem__):
            share = max(1, left // (len(states) - len(found)))
            found[row], used = self._text(lengths[row], states[row], share)
            left -= used
        return [found[row] for row in range(len(states))]

    def _system_of(self, length: int) -> System:
        return self._attention.system(self._reference(length))

    def _reference(self, length: int) -> torch.Tensor:
        """Reference texts as indices of candidates (M, length); other tokens become the most frequent."""
        index = torch.full((self._backbone.vocabulary,), int(self._prepared["anywhere"].argmax()))
        index[self._prepared["candidates"]] = torch.arange(len(self._prepared["candidates"]))
        return index[self._prepared["texts"][:, :length]]

    def _text(self, lengths: list[int], states: torch.Tensor, attempts: int) -> tuple[Unmixed, int]:
        """The best text for states (L, d), and how many attempts it took."""
        expected = self._chain.about(self._topics(states)).expected
        unknown = torch.zeros(lengths[0], len(self._chain.first))
        best, used = Decoded(expected(unknown).argmax(1), torch.inf), 0
        for mixed, damping in islice(self._attempts(lengths, states[0]), attempts):
            found, used = decoded(mixed, expected, damping, self._effort, ENOUGH), used + 1
            best = min(best, found, key=lambda one: one.distance)
            if found is best and self._sure(best, mixed, states):
                return Unmixed(self._tokens(best.tokens), True), used
        return Unmixed(self._tokens(best.tokens), False), max(used, 1)

    def _attempts(self, lengths: list[int], state: torch.Tensor) -> Iterator[tuple[Superposition, float]]:
        """Of the likeliest length two, then of another length one, and so on."""
        likeliest, *others = (self._of_length(length, state) for length in lengths)
        other = chain.from_iterable(islice(one, len(DAMPINGS)) for one in others)
        tried = -1
        while tried:
            tried = 0
            for attempt in chain(islice(likeliest, len(DAMPINGS)), islice(other, 1)):
                tried += 1
                yield attempt

    def _of_length(self, length: int, state: torch.Tensor) -> Iterator[tuple[Superposition, float]]:
        system = self._system(length)
        for inverse in system.roots(state, self._generator):
            mixed = system.superposition(inverse)
            for damping in DAMPINGS:
                yield mixed, damping

    def _topics(self, states: torch.Tensor) -> torch.Tensor:
        """What the backbone expects behind the pivot, over candidates (C,): words of the text's subject."""
        found = (self._backbone.final_norm(states[-1]) @ self._backbone.output_matrix().T).softmax(0)
        topics: torch.Tensor = found[self._prepared["candidates"]]
        return topics / topics.sum()

    def _tokens(self, candidates: torch.Tensor) -> tuple[int, ...]:
        return tuple(self._prepared["candidates"][candidates].tolist())

    def _sure(self, best: Decoded, mixed: Superposition, states: torch.Tensor) -> bool:
        """Whether all layers agree with the text, and the first with no text that differs in one token."""
        if best.distance > ENOUGH or mixed.beside(best.tokens) <= ENOUGH:
            return False
        made = pivots_of(self._backbone, torch.tensor([self._tokens(best.tokens)]), self._form, max(self._layers))[0]
        made = made[[layer - 1 for layer in self._layers]]
        return float((made - states).norm() / states.norm()) <= DEEPER
