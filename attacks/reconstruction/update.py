"""Reconstruction of texts from the updates that a federation server sees, by checks of spans.

What a map's update by plain gradient descent shows of the map's inputs is a span (evidence/updates/spans.py). A token
stands at a position of some text only if the input that it makes there lies in the span of the first block's maps.
Texts are grown token by token: each prefix with each such token is run, and is kept where the inputs of later maps lie
in their spans as well. In a causal model an input depends on nothing that follows, so that right prefixes are at
distance zero up to rounding. A text ends where the prompt's tokens follow.

It fails where an update's maps show no proper subspace: where a device trains on as many distinct tokens between two
averages as a map is wide, or, for low-rank updates, as the ranks of the maps that share an input add up to. With
several local steps the states have drifted from where they began: what is seen of their texts is which tokens may stand
at which position, and the language model orders them. AdamW does not keep spans. In full tuning with learned positions
it still moves a token's embedding and its position's alike as long as no other text has moved either, which gives away
most of a device's first text; later ones fade.

Threat model: an honest-but-curious federation server that knows the backbone, the opening tokens and the prompt; it
knows neither how many texts there are nor which, nor their lengths.
Source: DAGER, arXiv 2405.15586; for adapters cf. arXiv 2601.17533. Noise cut, end of a text and certificate: ours.

Shapes: V vocabulary, B texts, T positions, n inputs of a map.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, TextGuess
from ..evidence.updates.growing import Form, Near, Tree, grown, likely
from ..evidence.updates.sent import Site, Tuned, Update, updates


@dataclass(frozen=True)
class UpdateSpans(Attack):
    """Texts whose inputs lie in the spans of a device's update."""

    name: ClassVar[str] = "update"
    source: ClassVar[str] = "arXiv 2405.15586"
    goal: ClassVar[Goal] = Goal.TEXTS
    needs: ClassVar[Needs] = Needs(view=frozenset({"update", "held:start"}), public=frozenset({"backbone"}))
    attacked: ClassVar[frozenset[str]] = frozenset({"update"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = CAUSAL_ONLY
    linked: ClassVar[bool] = False

    tolerance: float = 0.03
    """Distance up to which an input counts as lying in a span; what is certified lies within it at every position."""
    drifted: float = 0.12
    """The same for tokens at a position, where embeddings are tuned in several steps between two averages."""
    sites: int = 4
    """Places of the forward pass at most whose inputs are checked."""
    beam: int = 32
    """Prefixes of an update, all equally long, at most: where more fit, its spans tell nothing apart."""
    most: int = 200
    """Updates at most that are attacked, spread evenly over the run."""

    def __post_init__(self) -> None:
        for name, value in (("sites", self.sites), ("beam", self.beam), ("most", self.most)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """Texts found in the updates, each once, without saying whose they are."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        search = Search(self, Tuned(backbone, public.facts), backbone, public)
        found: dict[tuple[int, ...], bool] = {}
        for update in chosen(view, self.most):
            for tokens, sure in search.texts(update).items():
                found[tokens] = found.get(tokens, False) or sure
        return TextGuess((), tuple(found), tuple(found.values()))


def chosen(view: View, most: int) -> Iterator[Update]:
    """At most so many updates, spread evenly."""
    count = sum(1 for _ in updates(view))
    step = max(1.0, count / most)
    wanted = {int(at * step) for at in range(most)}
    yield from (update for at, update in enumerate(updates(view)) if at in wanted)


class Search:
    """Finds the texts that an update explains."""

    def __init__(self, attack: UpdateSpans, tuned: Tuned, backbone: Backbone, public: Public) -> None:
        self._attack, self._tuned, self._backbone = attack, tuned, backbone
        prompt, longest = public.facts["prompt"], int(public.facts["longest"])
        tail = tuple(backbone.token_ids(prompt))
        self._form = Form(tuple(backbone.prefix), tail, longest)
        steps = public.facts.get("every", 0)
        self._loose = attack.drifted if steps != 1 and tuned.embeds else attack.tolerance

    def texts(self, update: Update) -> dict[tuple[int, ...], bool]:
        """Each text's tokens, and whether it is certified.

        Certified is a text behind which the prompt stands, whose inputs lie in all spans that are checked, one of them
        behind an attention, and of which the search, leaving nothing out, found no variant with one other token.
        """
        self._tuned.at(update.before)
        sites = self._tuned.sites(update, self._attack.sites)
        if not sites:
            named = self._named(update)
            return {named: False} if named else {}
        near = self._near(update, sites[0])
        found: dict[tuple[int, ...], bool] = {}
        if len(sites) > 1 and self._form.tail:
            tree = self._grown(near, sites[1:])
            found = {one: tree.whole and not any(_one_apart(one, other) for other in tree.texts) for one in tree.texts}
        return {**dict.fromkeys(self._guessed(near, {one[0] for one in found}), False), **found}

    def _named(self, update: Update) -> tuple[int, ...]:
        """Where no span is seen: the tokens that embeddings name, up to where the prompt is read best."""
        tokens, tail = tuple(self._tuned.named(update)[len(self._form.opening) :]), self._form.tail
        read = [sum(map(operator.eq, tokens[at:], tail)) for at in range(len(tokens))]
        best = max(read, default=0)
        end = read.index(best) if 2 * best > len(tail) else len(tokens)
        return tokens[:end][: self._form.longest]

    def _grown(self, near: Callable[[int, float], Near], later: Sequence[Site]) -> Tree:
        tolerance = self._attack.tolerance

        def away(prefixes: Sequence[tuple[int, ...]], last: int) -> torch.Tensor:
            found = self._tuned.inputs(prefixes, later, last)
            distances = [site.distance(inputs) for site, inputs in zip(later, found, strict=True)]
            return torch.stack(distances).amax(0).view(len(prefixes), last)

        return grown(self._form, lambda place: near(place, tolerance), away, tolerance, self._attack.beam)

    def _guessed(self, near: Callable[[int, float], Near], known: set[int]) -> list[tuple[int, ...]]:
        """A guess for each first token that no text found begins with; none where positions are all alike."""
        starts = [token for token in near(self._form.places[0], self._loose) if token not in known]
        if not 0 < len(starts) <= self._attack.beam or not self._form.tail or not self._tuned.ordered:
            return []
        return likely(self._form, lambda place: near(place, self._loose), starts, self._backbone, self._attack.beam)

    def _near(self, update: Update, first: Site) -> Callable[[int, float], Near]:
        """The tokens at a position whose inputs lie within a distance of the first span."""
        moved = self._tuned.moved(update)
        tokens = torch.arange(self._backbone.vocabulary) if moved is None else moved

        @cache
        def distances(place: int) -> torch.Tensor:
            return first.distance(self._tuned.openings(place, tokens))

        def near(place: int, tolerance: float) -> Near:
            if place not in self._form.places:
                return {}
            fits = distances(place) <= tolerance
            return dict(zip(tokens[fits].tolist(), distances(place)[fits].tolist(), strict=True))

        return near


def _one_apart(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1
