"""Twins: what the same scorer gives to guesses made without the attacked messages.

`blind_outsider` has seen no message: the prior, a learner on auxiliary rows, or the attack itself on a view whose
samples are filed under each other's ids. `blind_rest` has seen the view without the attacked kinds: labels are read off
activations, with the same auxiliary and known labels that the attack has (readings.py), and a model is learnt from
them. The harness makes them, from
public knowledge and the view alone; which candidate stands for a twin is chosen on other rows than those it is scored
on (statistics.best_of).

Shapes: N rows, L blocks, d width, K classes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from ...attacks.attack import Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess
from ...attacks.evidence.adapted import challenged_examples, untuned_model
from ...attacks.evidence.states import Form
from ...system.backbone import Backbone, load_backbone
from ...system.heads import scores, verbaliser
from ...system.public import Public
from ...system.released import FUSIONS, LANGUAGE
from ...system.view import View
from .readings import EVERYTHING, KNOWN, Reader
from .states import after, discriminant, states

LEARNERS = {KNOWN: "learner of known rows", EVERYTHING: "learner of all rows"}
"""What classifiers of known rows, and of auxiliary rows as well, are called where they stand for a model."""
LONGEST = 64
"""Tokens of a language model's blind guess."""


@dataclass(frozen=True)
class Blind:
    """Makes the harness's own blind guesses about one run."""

    view: View
    public: Public
    backbone: Backbone
    targets: tuple[str, ...]

    def outsider(self, goal: Goal) -> dict[str, Guess]:
        """Guesses made without any message."""
        if goal is Goal.LABELS:
            return self._one_class()
        if goal is Goal.TEXTS:
            prior = {"auxiliary tokens": self._text_prior(by_label=False), "language model": self._continuation()}
            return {**prior, **self._candidates()}
        if self._model is None:
            return self._constant()
        return {"untuned": self._untuned(), "learner": self._learner}

    def rest(self, goal: Goal, attacked: frozenset[str]) -> dict[str, Guess]:
        """Guesses made from the view without the attacked kinds."""
        seen = self.view.without(attacked)
        if goal is Goal.LABELS:
            return {**self._one_class(), **(self._read if "activations" in seen.kinds else {})}
        if goal is Goal.TEXTS:
            known = "labels" in seen.kinds
            blind = {"auxiliary tokens": self._text_prior(by_label=False), **self._candidates()}
            return {**blind, "tokens by label": self._text_prior(by_label=True)} if known else blind
        if self._model is None:
            return self._constant()
        return {"learner": self._learner, **(self._asked if "activations" in seen.kinds else {})}

    def members(self) -> dict[str, Guess]:
        """Beside what texts alone tell: how easy a language model that was tuned elsewhere found each before it was."""
        public = self.public
        if public.backbone is None or public.facts.get("fusion") != FUSIONS[LANGUAGE]:
            return {}
        nats = untuned_model(public, self.backbone).errors(challenged_examples(public))
        return {"untuned backbone": MembershipScores(tuple(one.id for one in public.challenge), -nats)}

    def texts(self, count: int) -> dict[str, Guess]:
        """Beside them, for guesses that name no samples: so many texts, matched to the rows as those are.

        Texts of which some are known to be the victim's, then auxiliary ones, then what the public backbone writes.
        """
        longest = self.public.facts["longest"]
        texts = [*self.public.candidates, *(example.text for example in self.public.auxiliary)][:count]
        known = [tuple(self.backbone.token_ids(text, longest)) for text in texts]
        more = _drawn(self.backbone, min(LONGEST, longest), count - len(known)) if count > len(known) else ()
        return {"auxiliary texts": TextGuess((), (*known, *more))}

    def _one_class(self) -> dict[str, Guess]:
        """The same class for all: the likeliest by the priors, and the most frequent one among known labels."""
        ids, labels = self.view.sample_ids(), self.public.labels
        found = {"prior": self._likeliest()}
        if known := Counter(one.label for one in self.public.known):
            found["known prior"] = labels.index(known.most_common(1)[0][0])
        return {name: LabelGuess(ids, torch.full((len(ids),), label)) for name, label in found.items()}

    def _likeliest(self) -> int:
        """The class with the largest prior, else the most frequent auxiliary class, else the first."""
        priors, counts = self.public.priors, Counter(example.label for example in self.public.auxiliary)
        if priors:
            return priors.index(max(priors))
        return self.public.labels.index(counts.most_common(1)[0][0]) if counts else 0

    @cached_property
    def _read(self) -> dict[str, LabelGuess]:
        """Labels read off the activations."""
        return Reader(self.view, self.public, self.backbone).guesses

    @cached_property
    def _asked(self) -> dict[str, Guess]:
        """The backbone with classifiers of the activations whose labels are known, asked on the queries."""
        found = Reader(self.view, self.public, self.backbone).asked([query.text for query in self.public.queries])
        ids = tuple(query.id for query in self.public.queries)
        return {LEARNERS[name]: StolenModel(ids, outputs) for name, outputs in found.items()}

    def _text_prior(self, by_label: bool) -> TextGuess:
        """At each place the token that auxiliary texts, of the same label where it is known, have most often there."""
        longest = self.public.facts["longest"]
        tokens = [self.backbone.token_ids(e.text, longest) for e in self.public.auxiliary]
        labels: dict[str, int] = {}
        if by_label:
            ids, rows = self.view.rows("labels", "labels")
            labels = dict(zip(ids, rows.tolist(), strict=True))
        groups: dict[int, list[list[int]]] = defaultdict(list)
        for row, example in zip(tokens, self.public.auxiliary, strict=True):
            groups[self.public.labels.index(example.label) if by_label else -1].append(row)
        guesses = {label: _common_tokens(rows_) for label, rows_ in groups.items()}
        whole = _common_tokens(tokens)
        return TextGuess(self.targets, tuple(guesses.get(labels.get(i, -1), whole) for i in self.targets))

    def _candidates(self) -> dict[str, Guess]:
        """Where texts are known of which some are the victim's: their commonest tokens, and one of them a sample."""
        longest = self.public.facts["longest"]
        tokens = [tuple(self.backbone.token_ids(text, longest)) for text in self.public.candidates]
        if not tokens:
            return {}
        common, rows = _common_tokens(tokens), range(len(self.targets))
        found = {"candidates' tokens": [common for _ in rows], "any candidate": [tokens[i % len(tokens)] for i in rows]}
        return {name: TextGuess(self.targets, tuple(texts)) for name, texts in found.items()}

    def _continuation(self) -> TextGuess:
        """What the public backbone writes from the opening tokens: one text for all."""
        text = _written(self.backbone, min(LONGEST, self.public.facts["longest"]))
        return TextGuess(self.targets, (text,) * len(self.targets))

    @cached_property
    def _model(self) -> Backbone | None:
        """The backbone as far as it is public, else the relative that it descends from."""
        if self.public.backbone is not None:
            return self.backbone
        return load_backbone(self.public.relative) if self.public.relative is not None else None

    def _constant(self) -> dict[str, Guess]:
        """The likeliest class for every query."""
        outputs = torch.zeros(len(self.public.queries), len(self.public.labels))
        outputs[:, self._likeliest()] = 1.0
        return {"prior": StolenModel(tuple(query.id for query in self.public.queries), outputs)}

    @torch.no_grad()
    def _untuned(self) -> StolenModel:
        """The public backbone, or its relative, asked by its verbaliser."""
        assert self._model is not None
        head = verbaliser(self._model, self.public.labels)
        asked = states(self._model, tuple(query.text for query in self.public.queries), self._form)
        return StolenModel(tuple(q.id for q in self.public.queries), scores(head, self._model, asked[:, -1, 0]))

    @cached_property
    def _learner(self) -> StolenModel:
        """The public backbone with a classifier trained on the same auxiliary labels (`readoff`'s twin)."""
        if len({example.label for example in self.public.auxiliary}) < 2:
            return self._untuned()
        assert self._model is not None
        layers = tuple(range(1, len(self._model.blocks) + 1))
        classifier = discriminant(self._model, self.public.auxiliary, self.public.labels, layers, self._form)
        asked = states(self._model, tuple(query.text for query in self.public.queries), self._form)
        return StolenModel(tuple(q.id for q in self.public.queries), classifier.probabilities(after(asked, layers)))

    @property
    def _form(self) -> Form:
        """As the backbone itself reads texts: nothing has crossed."""
        return Form(self.public.facts["longest"], self.public.facts["prompt"], self.public.facts["selector"])


@lru_cache(maxsize=4)
@torch.no_grad()
def _written(backbone: Backbone, longest: int) -> tuple[int, ...]:
    """What a backbone writes from its opening tokens, greedily; kept, because it is the same for every victim."""
    row = list(backbone.prefix) or [0]
    opening = len(row)
    for _ in range(longest):
        row.append(int(backbone.next_logits(torch.tensor([row])).argmax()))
    return tuple(row[opening:])


@lru_cache(maxsize=4)
@torch.no_grad()
def _drawn(backbone: Backbone, longest: int, count: int) -> tuple[tuple[int, ...], ...]:
    """Texts drawn from a backbone token by token, each of so many."""
    generator = torch.Generator().manual_seed(0)
    opening = list(backbone.prefix) or [0]
    rows = torch.tensor([opening] * count)
    for _ in range(longest):
        chances = backbone.next_logits(rows).softmax(1)
        rows = torch.cat([rows, torch.multinomial(chances, 1, generator=generator)], 1)
    return tuple(tuple(row) for row in rows[:, len(opening) :].tolist())


def _common_tokens(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    longest = max((len(row) for row in rows), default=0)
    columns = (Counter(row[i] for row in rows if i < len(row)) for i in range(longest))
    return tuple(column.most_common(1)[0][0] for column in columns)
