"""Reconstruction of texts from the updates that a federation server sees, by checks of spans.

What a map's update by plain gradient descent shows of the map's inputs is a span (attacks/evidence/spans.py). A token
stands at a position of some text only if the input that it makes there lies in the span of the first block's maps.
Texts are grown token by token: each prefix with each such token is run, and is kept where the inputs of later maps lie
in their spans as well. In a causal model an input depends on nothing that follows, so that right prefixes are at
distance zero up to rounding. A text ends where the prompt's tokens follow.

It fails where an update's maps show no proper subspace: where a device trains on as many distinct tokens between two
averages as a map is wide, or, for low-rank updates, as the ranks of the maps that share an input add up to. With
several local steps the states have drifted from where they began, and distances are compared with a wider tolerance.
AdamW does not keep spans; of it only embeddings that moved remain, in full tuning.

Threat model: an honest-but-curious federation server that knows the backbone, the opening tokens and the prompt; it
knows neither how many texts there are nor which, nor their lengths.
Source: DAGER, arXiv 2405.15586; for adapters cf. arXiv 2601.17533. Noise cut, end of a text and certificate: ours.

Shapes: V vocabulary, B texts, T positions, n inputs of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, TextGuess
from ..evidence.updates import Site, Tuned, Update, updates

ROWS = 1024
"""Prefixes of one forward pass."""


@dataclass(frozen=True)
class UpdateSpans(Attack):
    """Texts whose inputs lie in the spans of a device's update."""

    name: ClassVar[str] = "update"
    source: ClassVar[str] = "arXiv 2405.15586"
    goal: ClassVar[Goal] = Goal.TEXTS
    needs: ClassVar[Needs] = Needs(view=frozenset({"update", "held:start"}), public=frozenset({"backbone"}))
    attacked: ClassVar[frozenset[str]] = frozenset({"update"})
    linked: ClassVar[bool] = False

    tolerance: float = 0.03
    """Distance up to which an input counts as lying in a span; what is certified lies within it at every position."""
    drifted: float = 0.12
    """The same where devices take several steps between two averages."""
    sites: int = 5
    """Places of the forward pass at most whose inputs are checked."""
    beam: int = 32
    """Prefixes of an update at most that are grown on."""
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
    count = sum(message.kind == "update" for message in view.messages)
    step = max(1.0, count / most)
    wanted = {int(at * step) for at in range(most)}
    yield from (update for at, update in enumerate(updates(view)) if at in wanted)


class Grown(NamedTuple):
    """A prefix, opening tokens included, and the largest distance of its inputs so far."""

    tokens: tuple[int, ...]
    distance: float


class Tree(NamedTuple):
    """What was grown for one update."""

    ended: list[Grown]
    """Texts behind which the prompt stands."""
    left: list[Grown]
    """Prefixes that nothing could follow, shorter ones first."""
    whole: bool
    """Whether no prefix was left out for want of room."""


class Search:
    """Grows texts that an update explains."""

    def __init__(self, attack: UpdateSpans, tuned: Tuned, backbone: Backbone, public: Public) -> None:
        self._attack, self._tuned, self._opening = attack, tuned, tuple(backbone.prefix)
        self._vocabulary = torch.arange(backbone.vocabulary)
        prompt, longest = public.facts["prompt"], int(public.facts["longest"])
        self._tail = tuple(backbone.token_ids(prompt)) if prompt else ()
        self._end = len(self._opening) + longest + len(self._tail)
        drifts = public.facts.get("every", 0) != 1
        self._tolerance = max(attack.tolerance, attack.drifted) if drifts else attack.tolerance

    def texts(self, update: Update) -> dict[tuple[int, ...], bool]:
        """Each text's tokens, and whether it is certified.

        Certified is a text that ends, whose inputs lie in all spans that are checked, one of them behind an attention,
        and of which the search, leaving nothing out, found no variant with one other token.
        """
        self._tuned.at(update.before)
        sites = self._tuned.sites(update, self._attack.sites)
        if not sites:
            return {}
        tree = self._grow(update, sites[0], sites[1:])
        own = {self._own(one, len(self._tail)): one for one in tree.ended}
        if not own:
            return {self._own(one, 0): False for one in tree.left[-1:] if len(one.tokens) > len(self._opening)}
        near = self._attack.tolerance
        return {
            tokens: tree.whole
            and len(sites) > 1
            and one.distance <= near
            and not any(_one_apart(tokens, o) for o in own)
            for tokens, one in own.items()
        }

    def _own(self, one: Grown, tail: int) -> tuple[int, ...]:
        """A text's own tokens: without those that open it and so many behind it."""
        return one.tokens[len(self._opening) : len(one.tokens) - tail]

    def _grow(self, update: Update, first: Site, later: Sequence[Site]) -> Tree:
        moved = self._tuned.moved(update)
        tokens = self._vocabulary if moved is None else moved
        tree, alive, whole = Tree([], [], True), [Grown(self._opening, 0.0)], True
        for position in range(len(self._opening), self._end):
            near = first.distance(self._tuned.openings(position, tokens))
            fits = near <= self._tolerance
            grown = self._following(alive, tokens[fits].tolist(), near[fits].tolist(), later)
            whole = whole and len(grown) <= self._attack.beam
            grown = sorted(grown, key=lambda one: one.distance)[: self._attack.beam]
            parents = {one.tokens[:-1] for one in grown}
            tree.left.extend(one for one in alive if one.tokens not in parents)
            tree.ended.extend(one for one in grown if self._tail and one.tokens[-len(self._tail) :] == self._tail)
            alive = grown
            if not alive:
                break
        tree.left.extend(alive)
        return tree._replace(whole=whole)

    def _following(
        self, alive: Sequence[Grown], tokens: Sequence[int], near: Sequence[float], later: Sequence[Site]
    ) -> list[Grown]:
        """The prefixes with one token more whose inputs lie in the spans of the later sites as well."""
        grown = [
            Grown((*one.tokens, token), max(one.distance, distance))
            for one in alive
            for token, distance in zip(tokens, near, strict=True)
        ]
        if not grown or not later:
            return grown
        found = []
        for start in range(0, len(grown), ROWS):
            part = grown[start : start + ROWS]
            inputs = self._tuned.inputs([one.tokens for one in part], later)
            away = torch.stack([site.distance(x) for site, x in zip(later, inputs, strict=True)]).amax(0).tolist()
            found += [Grown(o.tokens, max(o.distance, a)) for o, a in zip(part, away, strict=True)]
        return [one for one in found if one.distance <= self._tolerance]


def _one_apart(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1
