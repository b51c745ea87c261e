"""Classifiers of activations that an attacker trains on texts whose labels it knows.

Shapes: M rows with labels, N rows without, L layers that crossed, d width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.codec import Precision, through
from ...system.fusion import pack_positions, pivot_activations
from ...system.heads import words
from ...system.public import Public
from ...system.view import View

CHUNK = 64
"""Texts of one forward pass."""
FOLDS = 5
SHRINKAGES = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9)
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
TEMPLATES = (
    "{}",
    "i have a question about {}.",
    "please help me with {}",
    "my {} is wrong, what can i do?",
    "{} please",
    "there is a problem with {}. thank you.",
    "hello, {}",
    "about the {} of last week",
)
"""Texts that a class name is read in: alone it lies far from whatever people write."""
FEW = 4
"""Rows a class below which shrinkage and temperature cannot be chosen by cross-validation."""


# --- states ---------------------------------------------------------------------------------------------------


def crossed_states(view: View, public: Public) -> tuple[tuple[str, ...], torch.Tensor]:
    """Ids and states (N, L, d) of all samples as they first crossed, in the form of `states_of`."""
    found: dict[str, torch.Tensor] = {}
    for item in view.sequences():
        if item.sample_id not in found:
            found[item.sample_id] = _pooled(item.activations, public.facts["positions"])
    width = len(public.facts["layers"])
    return tuple(found), torch.stack(list(found.values())) if found else torch.empty(0, width, 0)


def auxiliary_states(public: Public) -> tuple[torch.Tensor, torch.Tensor]:
    """States (M, L, d) of the auxiliary texts as they would cross, and their labels (M,); none without such texts."""
    labels = torch.tensor([public.labels.index(example.label) for example in public.auxiliary], dtype=torch.int64)
    return states_of([example.text for example in public.auxiliary], public), labels


def class_name_states(public: Public) -> torch.Tensor:
    """States (K, L, d) of the class names: the mean over what would cross of each name in every template."""
    return name_rows(public).mean(0)


def name_rows(public: Public) -> torch.Tensor:
    """States (templates, K, L, d) of the class names in every template."""
    names = [words(label) for label in public.labels]
    rows = states_of([template.format(name) for template in TEMPLATES for name in names], public)
    return rows.view(len(TEMPLATES), len(names), *rows.shape[1:])


@torch.no_grad()
def states_of(texts: Sequence[str], public: Public) -> torch.Tensor:
    """What would cross of texts: (B, L, d), or (B, 2 L, d) where all positions cross: their mean, then the last.

    Needs the public item backbone and the facts layers, longest, positions, prompt and selector.
    """
    assert public.backbone is not None
    backbone = load_backbone(public.backbone)
    parts = [_states(backbone, list(texts[i : i + CHUNK]), public) for i in range(0, len(texts), CHUNK)]
    return torch.cat(parts) if parts else torch.empty(0, len(public.facts["layers"]), backbone.width)


def _states(backbone: Backbone, texts: list[str], public: Public) -> torch.Tensor:
    facts = public.facts
    precision = cast(Precision, facts.get("precision", "fp32"))
    layers = [layer - 1 for layer in facts["layers"]]
    if facts["positions"] != "all":
        pivots = pivot_activations(backbone, texts, facts["longest"], facts["prompt"], facts["selector"])
        return through(pivots[:, layers], precision)
    tokens = backbone.tokens(texts, facts["longest"], facts["prompt"])
    packed, lengths = pack_positions(backbone.activations(tokens, max(facts["layers"]))[:, :, layers], tokens)
    return torch.stack([_pooled(part, "all") for part in through(packed, precision).split(lengths.tolist())])


def _pooled(positions: torch.Tensor, form: str) -> torch.Tensor:
    """(T, L, d) to (L, d) where one position crosses, else to (2 L, d): the mean, then the last."""
    return torch.cat([positions.mean(0), positions[-1]]) if form == "all" else positions[-1]


def features(states: torch.Tensor) -> torch.Tensor:
    """Finite rows (N, F) of all layers end to end; whoever compares them standardises each column."""
    return states.flatten(1).float().nan_to_num(0.0, 0.0, 0.0)


# --- classifier -----------------------------------------------------------------------------------------------


class Linear(NamedTuple):
    """Class scores of features: `rows @ weight + bias` are log-probabilities up to a constant a row."""

    weight: torch.Tensor
    """(F, K)"""
    bias: torch.Tensor
    """(K,); minus infinity for a class without a row"""

    def probabilities(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, K) of rows (N, F); uniform where no class has a row."""
        if self.bias.isneginf().all():
            return torch.full((len(rows), len(self.bias)), 1 / len(self.bias))
        return (rows @ self.weight + self.bias).softmax(1)


def probabilities(
    train_states: torch.Tensor,
    train_labels: torch.Tensor,
    states: torch.Tensor,
    classes: int,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Class probabilities (N, K) of states (N, L, d), by a classifier of labelled states (M, L, d).

    A class without a row gets 0; all are equal where there is no row. `generator` draws nothing so far.
    """
    rows = features(states)
    if not len(train_labels):
        return torch.full((len(rows), classes), 1 / classes)
    return fitted(features(train_states), train_labels, classes, rows).probabilities(rows)


def fitted(
    rows: torch.Tensor,
    labels: torch.Tensor,
    classes: int,
    others: torch.Tensor | None = None,
    groups: torch.Tensor | None = None,
) -> Linear:
    """Linear discriminant analysis with a shrunk covariance, of rows (M, F) with labels (M,).

    Shrinkage and temperature are those with the best log-likelihood under cross-validation that keeps rows of one
    group (M,), such as variants of one text, together. Below FEW rows a class, the covariance of the `others` (N, F),
    rows without labels, stands in for that within the classes.
    """
    everything = rows if others is None else torch.cat([rows, others])
    mean, spread = everything.mean(0), everything.std(0, correction=0)
    spread = torch.where(spread > 1e-6 * spread.max().clamp(min=1e-12), spread, torch.inf)
    scaled = (rows - mean) / spread
    if len(rows) < FEW * len(labels.unique()):
        solved = _few(scaled, labels, classes, (everything - mean) / spread)
    else:
        solved = _chosen(scaled, labels, classes, torch.arange(len(rows)) if groups is None else groups)
    weight = solved.weight / spread.unsqueeze(1)
    return Linear(weight, solved.bias - mean @ weight)


def _few(rows: torch.Tensor, labels: torch.Tensor, classes: int, everything: torch.Tensor) -> Linear:
    """From a few rows a class: distances under the half-shrunk covariance of all rows, tempered by the features."""
    basis = _basis(everything)
    found = _Scatter(rows @ basis, labels, classes, rows.shape[1], everything @ basis).solved(0.5)
    temperature = max(rows.shape[1] ** 0.5, 1.0)
    return Linear(basis @ found.weight / temperature, found.bias / temperature)


def _chosen(rows: torch.Tensor, labels: torch.Tensor, classes: int, groups: torch.Tensor) -> Linear:
    """With the shrinkage and the temperature that predict held-out rows best."""
    basis = _basis(rows)
    reduced, width = rows @ basis, rows.shape[1]
    likelihood = torch.zeros(len(SHRINKAGES), len(TEMPERATURES))
    for train, test in _folds(labels, groups):
        scatter = _Scatter(reduced[train], labels[train], classes, width)
        known = torch.isin(labels[test], labels[train])
        for i, shrinkage in enumerate(SHRINKAGES):
            found = scatter.solved(shrinkage)
            scores = (reduced[test] @ found.weight + found.bias)[known]
            for j, temperature in enumerate(TEMPERATURES):
                right = (scores / temperature).log_softmax(1).gather(1, labels[test][known].unsqueeze(1))
                likelihood[i, j] += right.sum()
    best = int(likelihood.argmax())
    found = _Scatter(reduced, labels, classes, width).solved(SHRINKAGES[best // len(TEMPERATURES)])
    temperature = TEMPERATURES[best % len(TEMPERATURES)]
    return Linear(basis @ found.weight / temperature, found.bias / temperature)


def _folds(labels: torch.Tensor, groups: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Masks (M,) of rows to fit and rows to predict; each class's groups are dealt out in turn."""
    owner = torch.full((int(groups.max()) + 1,), -1).index_copy(0, groups, labels)
    turn = torch.zeros(len(owner), dtype=torch.int64)
    for label in labels.unique():
        where = (owner == label).nonzero().squeeze(1)
        turn[where] = torch.arange(len(where)) % FOLDS
    for fold in range(FOLDS):
        test = turn[groups] == fold
        if test.any() and not test.all():
            yield ~test, test


def _basis(rows: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis (F, r) of the rows' span: shrunk covariances need no more."""
    if len(rows) >= rows.shape[1]:
        return torch.eye(rows.shape[1])
    basis: torch.Tensor = torch.linalg.qr(rows.T).Q
    return basis


class _Scatter:
    """Class means and the eigenvectors of the covariance within classes; each shrinkage is then cheap."""

    def __init__(
        self, rows: torch.Tensor, labels: torch.Tensor, classes: int, width: int, spread: torch.Tensor | None = None
    ) -> None:
        counts = torch.bincount(labels, minlength=classes).float()
        sums = torch.zeros(classes, rows.shape[1]).index_add(0, labels, rows)
        self._means = sums / counts.clamp(min=1).unsqueeze(1)
        self._prior = (counts / counts.sum()).log()
        inside = rows - self._means[labels] if spread is None else spread - spread.mean(0)
        covariance = inside.T @ inside / len(inside)
        self._values, self._vectors = torch.linalg.eigh(covariance)
        self._target = covariance.trace() / width

    def solved(self, shrinkage: float) -> Linear:
        """The discriminant with the covariance shrunk towards a multiple of the identity."""
        values = (1 - shrinkage) * self._values.clamp(min=0) + shrinkage * self._target.clamp(min=1e-12)
        weight = self._vectors @ ((self._vectors.T @ self._means.T) / values.unsqueeze(1))
        return Linear(weight, self._prior - 0.5 * (self._means.T * weight).sum(0))
