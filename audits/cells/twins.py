"""Twins: what the same scorer gives to guesses made without the attacked messages.

`blind_outsider` has seen no message: the prior, a learner on auxiliary rows, or the attack itself on a view whose
samples are filed under each other's ids. `blind_rest` has seen the view without the attacked kinds. The harness makes
them, from public knowledge and the view alone; which candidate stands for a twin is chosen on other rows than those
it is scored on (statistics.best_of).

Shapes: N rows, d width, K classes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ...attacks.attack import Goal, Guess, LabelGuess, StolenModel, TextGuess
from ...system.backbone import Backbone
from ...system.heads import scores, verbaliser
from ...system.public import Public
from ...system.selector import Selector, select
from ...system.view import View

CHUNK = 64
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
            return {"prior": self._label_prior()}
        if goal is Goal.TEXTS:
            return {"auxiliary tokens": self._text_prior(by_label=False), "language model": self._continuation()}
        return {"untuned": self._untuned(), "learner": self._learner}

    def rest(self, goal: Goal, attacked: frozenset[str]) -> dict[str, Guess]:
        """Guesses made from the view without the attacked kinds."""
        seen = self.view.without(attacked)
        if goal is Goal.LABELS:
            probe = self._probe(seen)
            return {"prior": self._label_prior(), **({"probe": probe} if probe else {})}
        if goal is Goal.TEXTS:
            known = "labels" in seen.kinds
            blind: dict[str, Guess] = {"auxiliary tokens": self._text_prior(by_label=False)}
            return {**blind, "tokens by label": self._text_prior(by_label=True)} if known else blind
        return {"learner": self._learner}

    def _label_prior(self) -> LabelGuess:
        """The most frequent auxiliary class; the first class where there are no auxiliary rows."""
        counts = Counter(example.label for example in self.public.auxiliary)
        common = self.public.labels.index(counts.most_common(1)[0][0]) if counts else 0
        ids = self.view.sample_ids()
        return LabelGuess(ids, torch.full((len(ids),), common))

    def _probe(self, seen: View) -> LabelGuess | None:
        """A linear classifier of each sample's activations, trained on auxiliary rows' own."""
        if "activations" not in seen.kinds or not self._learnable() or self.public.backbone is None:
            return None
        facts = self.public.facts
        layer = facts["layers"][-1]
        first: dict[str, torch.Tensor] = {}
        for item in seen.sequences():
            first.setdefault(item.sample_id, _pooled(item.activations[:, -1], facts["selector"]))
        guessed = self._fitted(layer).predict(torch.stack(list(first.values())).numpy())
        return LabelGuess(tuple(first), torch.from_numpy(guessed.astype(numpy.int64)))

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

    def _continuation(self) -> TextGuess:
        """What the public backbone writes from the opening tokens: one text for all."""
        text = _written(self.backbone, min(LONGEST, self.public.facts["longest"]))
        return TextGuess(self.targets, (text,) * len(self.targets))

    @torch.no_grad()
    def _untuned(self) -> StolenModel:
        """The public backbone, asked by its verbaliser."""
        head = verbaliser(self.backbone, self.public.labels)
        asked = self._states([query.text for query in self.public.queries], len(self.backbone.blocks))
        return StolenModel(tuple(q.id for q in self.public.queries), scores(head, self.backbone, asked))

    @cached_property
    def _learner(self) -> StolenModel:
        """The public backbone with a classifier trained on the same auxiliary labels (`readoff`'s twin)."""
        ids = tuple(q.id for q in self.public.queries)
        if not self._learnable():
            return self._untuned()
        layer = len(self.backbone.blocks)
        asked = self._states([q.text for q in self.public.queries], layer).numpy()
        classifier = self._fitted(layer)
        outputs = torch.zeros(len(ids), len(self.public.labels))
        found = torch.from_numpy(classifier.predict_proba(asked).astype(numpy.float32))
        outputs[:, torch.from_numpy(classifier.classes_)] = found
        return StolenModel(ids, outputs)

    def _learnable(self) -> bool:
        """Whether auxiliary rows tell two classes apart."""
        return len({example.label for example in self.public.auxiliary}) > 1

    def _fitted(self, layer: int) -> Pipeline:
        """A classifier of auxiliary rows' states after a block."""
        facts = self.public.facts
        texts = tuple(e.text for e in self.public.auxiliary)
        labels = tuple(self.public.labels.index(e.label) for e in self.public.auxiliary)
        return _fitted(self.backbone, texts, labels, layer, facts["longest"], facts["prompt"], facts["selector"])

    def _states(self, texts: Sequence[str], layer: int) -> torch.Tensor:
        """The selected position's state after a block, (N, d)."""
        facts = self.public.facts
        return _states(self.backbone, tuple(texts), layer, facts["longest"], facts["prompt"], facts["selector"])


@lru_cache(maxsize=16)
@torch.no_grad()
def _states(
    backbone: Backbone, texts: tuple[str, ...], layer: int, longest: int, prompt: str, selector: Selector
) -> torch.Tensor:
    """The selected position's state after a block, (N, d); kept, because all runs of a victim ask for the same."""
    chunks = (backbone.tokens(texts[i : i + CHUNK], longest, prompt) for i in range(0, len(texts), CHUNK))
    return torch.cat([select(backbone.activations(t, layer)[:, :, -1], t.mask, selector) for t in chunks])


@lru_cache(maxsize=16)
def _fitted(
    backbone: Backbone,
    texts: tuple[str, ...],
    labels: tuple[int, ...],
    layer: int,
    longest: int,
    prompt: str,
    selector: Selector,
) -> Pipeline:
    """A classifier of the selected position's state; kept, because all runs of a victim ask for the same."""
    return _classifier().fit(_states(backbone, texts, layer, longest, prompt, selector).numpy(), numpy.array(labels))


@lru_cache(maxsize=4)
@torch.no_grad()
def _written(backbone: Backbone, longest: int) -> tuple[int, ...]:
    """What a backbone writes from its opening tokens, greedily; kept, because it is the same for every victim."""
    row = list(backbone.prefix) or [0]
    for _ in range(longest):
        tokens = backbone.pad([row])
        row.append(int(backbone.model(input_ids=tokens.ids, attention_mask=tokens.mask).logits[0, -1].argmax()))
    return tuple(row[len(backbone.prefix) :])


def _pooled(states: torch.Tensor, selector: str) -> torch.Tensor:
    """(T, d) to (d,): one position as it is, several as the selector says."""
    if len(states) == 1 or selector == "first":
        return states[0]
    return states.mean(0) if selector == "mean" else states[-1]


def _common_tokens(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    longest = max((len(row) for row in rows), default=0)
    columns = (Counter(row[i] for row in rows if i < len(row)) for i in range(longest))
    return tuple(column.most_common(1)[0][0] for column in columns)


def _classifier() -> Pipeline:
    # on a few hundred rows a shrunk covariance beats logistic regression, and it is solved at once
    return make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
