"""Text from one position's state after the first block: its attention is a sum over the text's tokens.

Before the first block nothing depends on a token's neighbours, so that every token at every place has a known weight w
and value v in each head. The block is inverted at the pivot, which gives the attention's output o; then the sum of
w (v - o) over the text's tokens is zero in all heads at once (evidence/pivots/pivot_attention.py). It is taken apart
with the backbone's own language model (evidence/pivots/superposition.py). Deeper layers check the result.

Threat model: a server that knows the backbone and the prompt, and receives the pivot's states; it knows neither text
nor length. Without a prompt behind the text the pivot is the text's last token, which is read off its state first.
Memory: what is listed of every candidate at every place takes three times ENTRIES numbers
(evidence/pivots/beforehand.py) at most, beside the backbone in double precision.
Source: ours; relatives are the span check of DAGER (arXiv 2405.15586) and SipIt (arXiv 2510.15511).

Shapes: N samples, n tokens of a text, C candidates, d width, M reference texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, product
from typing import ClassVar, NamedTuple

import torch

from ...system.backbone import load_backbone
from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.pivots.beforehand import as_candidates, beforehand, stored_chain
from ..evidence.pivots.first_attention import KNOWN, FirstAttention
from ..evidence.pivots.pivot_attention import STARTS, Around, PivotAttention, System
from ..evidence.pivots.reference import read_last, read_lengths
from ..evidence.pivots.superposition import Decoded, Effort, Superposition, decoded
from ..evidence.states import FACTS, PLAIN, asked_states, exactly_sent, form_of
from ..evidence.token_states import states_of_tokens
from ..workbench import Workbench

ENOUGH = 2.0
"""Squared distance, in units of the noise, at which a sum counts as taken apart."""
LENGTHS = 3
"""Lengths of a text, and last tokens, that are tried, the likeliest first."""
FEWER = 4
"""Starts of inversions with endings that are not the likeliest."""
SYSTEMS = 8
"""Linear systems that are kept: samples come in order of their endings."""
DAMPINGS = (0.5, 0.7)
"""Of attempts at the same sum, in turn: the less, the faster; the more, the surer."""
CHECKED, LISTED = 2, 1e-3
"""Reference texts on which what is listed is compared with whole passes, and how far they may be apart."""
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
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **CAUSAL_ONLY,
        "positions": ("pivot",),
        "selector": ("last",),
        "activations": (PLAIN,),
        "first_layer": ("sent",),
    }
    studies = Studied(frozenset({"backbone", "auxiliary"}), FACTS, frozenset({"candidates"}))

    candidates: int = 4096
    """Tokens that may stand in a text: the most frequent ones of what the attacker takes people to write."""
    steps: int = 16
    """Exchanges between sum and language at most, in one attempt."""
    kept: int = 512
    """Candidates of a place that go on after the first steps."""
    attempts: int = 4
    """At a text, on average: more where others need fewer."""

    def __post_init__(self) -> None:
        for name in ("candidates", "steps", "kept", "attempts"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give at least 1")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`texts` (M, longest): what people may write; how lengths are read off pivots; the chain of tokens."""
        return beforehand(public, self.candidates, 1, generator)

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text for every asked sample."""
        ids, states = asked_states(view, public)
        if not ids:
            return TextGuess((), ())
        unmixing = Unmixing(public, prepared, Effort(self.steps, self.kept), generator)
        texts = unmixing.texts(states, self.attempts * len(ids))
        sure = tuple(t.sure for t in texts) if exactly_sent(public.facts) else ()
        return TextGuess(ids, tuple(t.tokens for t in texts), sure)


class Ending(NamedTuple):
    """How a text may end: so many tokens that are unknown, and what stands behind them."""

    unknown: int
    tail: tuple[int, ...]


class Unmixed(NamedTuple):
    """A text, and whether it alone, of all that differ in one token, gives what was received."""

    tokens: tuple[int, ...]
    sure: bool


class Attempt(NamedTuple):
    """One way to take a sum apart."""

    ending: Ending
    mixed: Superposition
    damping: float


class Unmixing:
    """Takes apart the sums of many samples; what is left of the effort goes to those that resist."""

    def __init__(self, public: Public, prepared: Prepared, effort: Effort, generator: torch.Generator) -> None:
        assert public.backbone is not None
        self._backbone, self._form = load_backbone(public.backbone), form_of(public.facts)
        self._prepared, self._effort, self._generator = prepared, effort, generator
        self._layers: list[int] = public.facts["layers"]
        self._chain, self._texts = stored_chain(prepared), as_candidates(prepared, self._backbone)
        self._prompt = tuple(self._backbone.token_ids(self._form.prompt))
        first = FirstAttention(public.backbone, self._form.clip)
        self._attention = PivotAttention(first, prepared["candidates"], self._form)
        self._system = lru_cache(maxsize=SYSTEMS)(self._system_of)

    def texts(self, states: torch.Tensor, left: int) -> list[Unmixed]:
        """Of received states (N, L, d), with so many attempts at all of them."""
        endings = self._endings(states)
        found: dict[int, Unmixed] = {}
        for row in sorted(range(len(states)), key=endings.__getitem__):
            share = max(1, left // (len(states) - len(found)))
            found[row], used = self._text(endings[row], states[row], share)
            left -= used
        return [found[row] for row in range(len(states))]

    def _endings(self, states: torch.Tensor) -> list[list[Ending]]:
        """Of each sample those that are tried, the likeliest first."""
        lengths = read_lengths(states, self._prepared)[:, :LENGTHS].tolist()
        if self._prompt:
            return [[Ending(length, self._prompt) for length in row] for row in lengths]
        last = read_last(self._backbone, states, self._prepared, LENGTHS).tolist()
        pairs = sorted(product(range(LENGTHS), repeat=2), key=sum)
        return [
            [Ending(row[i] - 1, (tokens[j],)) for i, j in pairs if i < len(row)]
            for row, tokens in zip(lengths, last, strict=True)
        ]

    def _system_of(self, ending: Ending) -> System:
        around, texts = Around(tuple(self._backbone.prefix), ending.tail), self._texts[:, : ending.unknown]
        system = self._attention.system(around, texts)
        own = [self._whole(text, ending) for text in texts[:CHECKED]]
        wanted = states_of_tokens(self._backbone, own, self._form._replace(precision="fp32"), [1])[:, 0]
        if float((system.made(texts[:CHECKED]) - wanted).norm() / wanted.norm()) > LISTED:
            raise UsageError(f"{self._backbone.name} attends with more than keys and values; {KNOWN}")
        return system

    def _text(self, endings: list[Ending], states: torch.Tensor, attempts: int) -> tuple[Unmixed, int]:
        """The best text for states (L, d), and how many attempts it took."""
        topics = self._topics(states)
        language = self._chain if topics is None else self._chain.about(topics)
        unknown = torch.zeros(endings[0].unknown, len(self._chain.first))
        best, used = Unmixed(self._whole(language.expected(unknown).argmax(1), endings[0]), False), 0
        nearest = torch.inf
        for ending, mixed, damping in islice(self._attempts(endings, states[0]), attempts):
            found, used = decoded(mixed, language, damping, self._effort, ENOUGH), used + 1
            if found.distance >= nearest:
                continue
            nearest = found.distance
            best = Unmixed(self._whole(found.tokens, ending), False)
            if self._sure(found, mixed, best.tokens, states):
                return best._replace(sure=True), used
        return best, max(used, 1)

    def _attempts(self, endings: list[Ending], state: torch.Tensor) -> Iterator[Attempt]:
        """With the likeliest ending two, then with another one, and so on."""
        likeliest = self._with(endings[0], state, STARTS)
        others = (self._with(ending, state, FEWER) for ending in endings[1:])
        other = chain.from_iterable(islice(one, len(DAMPINGS)) for one in others)
        while (one := next(likeliest, None) or next(other, None)) is not None:
            yield one
            yield from islice(likeliest, len(DAMPINGS) - 1)
            yield from islice(other, 1)

    def _with(self, ending: Ending, state: torch.Tensor, starts: int) -> Iterator[Attempt]:
        if not ending.unknown:  # a text of the last token alone: nothing is mixed into it
            return
        system = self._system(ending)
        for inverse in system.roots(state, self._generator, starts):
            mixed = system.superposition(inverse)
            for damping in DAMPINGS:
                yield Attempt(ending, mixed, damping)

    def _topics(self, states: torch.Tensor) -> torch.Tensor | None:
        """What the backbone expects behind the pivot, over candidates (C,): words of the text's subject.

        None where its last state did not cross, or is projected before the output matrix.
        """
        matrix: torch.Tensor = self._backbone.model.get_output_embeddings().weight
        if self._layers[-1] < len(self._backbone.blocks) or matrix.shape[1] != self._backbone.width:
            return None
        found = (self._backbone.final_norm(states[-1]) @ matrix.T).softmax(0)
        topics: torch.Tensor = found[self._prepared["candidates"]]
        return topics / topics.sum()

    def _whole(self, candidates: torch.Tensor, ending: Ending) -> tuple[int, ...]:
        own = tuple(self._prepared["candidates"][candidates].tolist())
        return own if self._prompt else (*own, *ending.tail)

    def _sure(self, found: Decoded, mixed: Superposition, tokens: tuple[int, ...], states: torch.Tensor) -> bool:
        """Whether all layers agree with the text, and the first with no text that differs in one token."""
        if found.distance > ENOUGH or mixed.beside(found.tokens) <= ENOUGH:
            return False
        made = states_of_tokens(self._backbone, [tokens], self._form, self._layers)[0]
        return float((made - states).norm() / states.norm()) <= DEEPER
