"""Labels that the harness itself reads off activations: candidates for the twin that saw the rest of a view.

An advantage is over the strongest of them, so that each is as strong as seconds allow. By auxiliary rows or known
labels: a shrunk linear discriminant of all layers that crossed, which learns from class names as well. Without any
label: class names, read in three ways, and clusters. Behind a secret map of the activations no text can be compared
with them: there are known rows, and clusters.

Shapes: N samples that crossed, M labelled rows, L layers that crossed (2 L where all positions cross: their mean, then
the last), d width, F = L d features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from sklearn.cluster import KMeans
from sklearn.utils.extmath import randomized_svd

from ...attacks.attack import LabelGuess
from ...attacks.evidence.labels.augmented import augmented
from ...attacks.evidence.labels.naming import standardised, verbalised
from ...attacks.evidence.labels.probing import Linear, fitted
from ...attacks.evidence.labels.reading import by_names
from ...attacks.evidence.states import PLAIN, Form, crossed_states, features, form_of, readable, within
from ...system.backbone import Backbone
from ...system.heads import words
from ...system.public import Public
from ...system.view import View
from .states import after, discriminant, noisy, states

MOST = 100
"""Principal directions in which rows of one class are drawn together."""
ROWS = 4
"""Rows for each direction at least: as many directions as rows set all rows equally apart."""
CLUSTERED = 20
"""Those in which clusters are sought without any name."""
STEPS = 15
DOUBT = 1e-3
"""The least probability that a classifier of known rows gives a class, where class names speak as well."""
AUXILIARY, KNOWN, EVERYTHING = "probe", "probe of known rows", "probe of all"


@dataclass(frozen=True)
class Reader:
    """Reads the labels of one run off its activations."""

    view: View
    public: Public
    backbone: Backbone

    @cached_property
    def guesses(self) -> dict[str, LabelGuess]:
        """By name, all that public knowledge allows; none where no activations crossed."""
        if not self.ids:
            return {}
        learnt = self._learnt()
        found = {name: probabilities.argmax(1) for name, probabilities in learnt.items()}
        if not self._auxiliary:
            found |= self._unlabelled(learnt.get(KNOWN))
        return {name: LabelGuess(self.ids, labels) for name, labels in found.items()}

    def asked(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """By name, class probabilities (M, K) of other texts, by what known rows teach.

        None where no label is known, or where what would cross of a text cannot be computed.
        """
        if not self.public.known or not self.ids or not readable(self.public):
            return {}
        rows = self._read(texts)
        return {name: one.probabilities(rows) for name, one in self._classifiers.items() if name != AUXILIARY}

    @cached_property
    def _crossed(self) -> tuple[tuple[str, ...], torch.Tensor]:
        """Ids and states (N, L, d)."""
        return crossed_states(self.view, self.public)

    @property
    def ids(self) -> tuple[str, ...]:
        return self._crossed[0]

    @property
    def _states(self) -> torch.Tensor:
        return self._crossed[1]

    @cached_property
    def _rows(self) -> torch.Tensor:
        return features(self._states)

    @cached_property
    def _known(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Places among the rows, and labels, of those whose label the adversary knows."""
        place = {sample_id: at for at, sample_id in enumerate(self.ids)}
        there = [(place[one.id], self.public.labels.index(one.label)) for one in self.public.known if one.id in place]
        found = torch.tensor(there, dtype=torch.int64).view(-1, 2)
        return found[:, 0], found[:, 1]

    @property
    def _auxiliary(self) -> bool:
        """Whether auxiliary rows, read with a public backbone, tell two classes apart."""
        return readable(self.public) and len({e.label for e in self.public.auxiliary}) > 1

    # --- with labels ----------------------------------------------------------------------------------------------

    def _learnt(self) -> dict[str, torch.Tensor]:
        """By name, class probabilities (N, K) of the rows that crossed."""
        return {name: classifier.probabilities(self._rows) for name, classifier in self._classifiers.items()}

    @cached_property
    def _classifiers(self) -> dict[str, Linear]:
        """Of auxiliary rows, of known rows, and of all that can be learnt."""
        classes, rows = len(self.public.labels), self._rows
        places, labels = self._known
        found: dict[str, Linear] = {}
        if self._auxiliary and self.public.facts.get("activations", PLAIN) == PLAIN:
            public = self.public
            found[AUXILIARY] = discriminant(self.backbone, public.auxiliary, public.labels, self._layers, self._form)
        elif self._auxiliary:
            found[AUXILIARY] = self._all(rows[:0], labels[:0])
        if len(labels.unique()) > 1:
            found[KNOWN] = fitted(rows[places], labels, classes, rows)
            if readable(self.public):
                found[EVERYTHING] = self._all(rows[places], labels)
        return found

    def _all(self, known: torch.Tensor, labels: torch.Tensor) -> Linear:
        """Of auxiliary texts, class names and known rows (R, F) with their labels (R,)."""
        learnt = augmented(self.public.auxiliary, self.public.labels, torch.Generator().manual_seed(0))
        rows, owners = (
            torch.cat([self._read(learnt.texts, noise=True), known]),
            torch.cat([learnt.labels, labels]),
        )
        groups = torch.cat([learnt.groups, len(learnt.texts) + torch.arange(len(labels))])
        return fitted(rows, owners, len(self.public.labels), groups=groups)

    # --- with few or none -----------------------------------------------------------------------------------------

    def _unlabelled(self, learnt: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """By class names, where the backbone is public, and by clusters, which only the best matching names.

        What was `learnt` of known rows (N, K) is added to what names say.
        """
        rows = self._rows.numpy()
        scaled = torch.from_numpy((rows - rows.mean(0)) / rows.std(0).clip(min=1e-6))
        count = min(MOST, max(len(scaled) // ROWS, 1), scaled.shape[1])
        white = torch.from_numpy(randomized_svd(scaled.numpy(), count, random_state=0)[0]).float()
        named = self._named(white, learnt) if readable(self.public) else {}
        return {**named, "clusters": _clusters(white[:, :CLUSTERED], len(self.public.labels))}

    def _named(self, white: torch.Tensor, learnt: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """By the likeness to class names, by the verbaliser, and by all evidence with rows of a kind drawn together."""
        names = self._read([words(label) for label in self.public.labels])
        first = self._states.shape[2]
        alike = _alike(self._rows, names)
        evidence = (alike + _alike(self._rows[:, :first], names[:, :first])) / 2
        found = {
            "class names": alike.argmax(1),
            "class names and priors": by_names(self._states, self.public).argmax(1),
        }
        if (asked := verbalised(self._states, self.public)) is not None:
            found["verbaliser"], evidence = asked.argmax(1), evidence + asked
        if learnt is not None:
            evidence = evidence + learnt.clamp(min=DOUBT).log()
        return {**found, "class names and clusters": _drawn_together(white, evidence, *self._known)}

    # --- states ---------------------------------------------------------------------------------------------------

    @property
    def _layers(self) -> tuple[int, ...]:
        return tuple(self.public.facts["layers"])

    @property
    def _form(self) -> Form:
        return form_of(self.public.facts)

    def _read(self, texts: Sequence[str], noise: bool = False) -> torch.Tensor:
        """Features (M, F) of texts, as they would cross, with a device's noise or without."""
        rows = after(states(self.backbone, tuple(texts), self._form), self._layers)
        rows = noisy(rows, self._form) if noise else rows
        return within(rows.view(len(rows), *self._states.shape[1:]), self.public).flatten(1)


def _alike(rows: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """Cosine (N, K) of rows (N, F) and class names (K, F), each side centred: texts and bare names lie apart."""
    sides = [side - side.mean(0) for side in (rows, names)]
    spread = (sides[0].std(0, correction=0) + sides[1].std(0, correction=0)).clamp(min=1e-9)
    one, other = (torch.nn.functional.normalize(side / spread, dim=1) for side in sides)
    return standardised(one @ other.T)


def _drawn_together(
    white: torch.Tensor, evidence: torch.Tensor, places: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Labels (N,) of a mixture of round clusters in whitened rows (N, P), each row's prior being its evidence (N, K).

    By expectation maximisation; the label of a known row stays. The exponent falls with the root of P, as whitened
    directions are not independent given a class.
    """
    prior = evidence.index_fill(0, places, -1e6)
    prior[places, labels] = 0.0
    weights = prior.softmax(1)
    for _ in range(STEPS):
        centres = weights.T @ white / weights.sum(0).clamp(min=1e-6).unsqueeze(1)
        squares = torch.cdist(white, centres).square()
        variance = ((weights * squares).sum() / white.numel()).clamp(min=1e-12)
        weights = (prior - squares / (variance * white.shape[1] ** 0.5)).softmax(1)
    return weights.argmax(1)


def _clusters(white: torch.Tensor, classes: int) -> torch.Tensor:
    """Numbers (N,) of k-means clusters, as many as classes where there are as many different rows."""
    different = len(white.mul(1e6).round().unique(dim=0))
    found = KMeans(min(classes, different), n_init=4, random_state=0).fit_predict(white.numpy())
    return torch.from_numpy(found).long()
