"""Classifiers of activations that an attacker trains on texts whose labels it knows.

Shapes: M rows with labels, N rows without, L layers that crossed, d width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch

from ..states import features
from .unseen import below_seen

FOLDS = 5
SHRINKAGES = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9)
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
FEW = 4
"""Rows a class below which shrinkage and temperature cannot be chosen by cross-validation."""


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

    def logarithms(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, K) of those probabilities, of rows (N, F); a class without a row stands below the others."""
        seen = ~self.bias.isneginf()
        if not seen.any():
            return self.probabilities(rows).log()
        return below_seen((rows @ self.weight + self.bias).log_softmax(1), seen)


def probabilities(
    train_states: torch.Tensor,
    train_labels: torch.Tensor,
    states: torch.Tensor,
    classes: int,
) -> torch.Tensor:
    """Class probabilities (N, K) of states (N, L, d), by a classifier of labelled states (M, L, d).

    A class without a row gets 0; all are equal where there is no row.
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
