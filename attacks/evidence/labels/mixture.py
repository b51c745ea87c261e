"""Mixture of linear regressions with one slope: value = centre of the sample's group + slope of its features + noise.

A secret head, or secret codewords, make differences of this form: the head, or the code's share of the backbone, is the
slope, and each class or codeword has one centre. Two samples of a group differ only by the slope, which is therefore
found from pairs of neighbours in spite of wrong pairs; then groups and slope are refitted in turn.
Sources: mixtures of linear regressions by alternating minimisation, Yi, Caramanis and Sanghavi (arXiv 1310.3745,
section 3); graduated non-convexity against wrong pairs, Black and Rangarajan (IJCV 1996, section 3).

Shapes: N samples, L layers, d width, F features, D values, C groups, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import layer_norm

from ....system.backbone import load_backbone
from ....system.public import Public
from ..states import share_known
from .grouping import (
    FITTED,
    alike,
    grouped,
    means,
    nearest,
    neighbours,
    separation,
    spread_out,
    squares,
    swapped,
    whitened,
)

NEARLY, EXACT = 1e-4, 1e-7
"""Share of the variance left within groups below which no further start, and no better groups, are looked for."""
RIDGE, FINE = 1e-3, 1e-5
"""Added to the features' unit variance while groups are still wrong, and in the end."""
RESTARTS, TRIED = 2, 6000
"""Starts by chance, and the rows that all of them together may take where rows are few."""
SHARPENED = 15
"""Steps in which the tolerance of pairs falls, each time by a factor 1.7."""
ROUNDS = 25
SEARCHES = 4


@dataclass(frozen=True)
class Mixture:
    """A fit."""

    groups: torch.Tensor
    """(N,) int64 in [0, C)"""
    slope: torch.Tensor
    """(F, D)"""
    centres: torch.Tensor
    """(C, D); those of empty groups are zero."""
    residuals: torch.Tensor
    """(N, D) values without the slope's share: the centre and noise."""
    left: float
    """What remains within groups, as a share of the values' variance."""

    @property
    def separation(self) -> float:
        """How well the groups are told apart: see `separation`."""
        return separation(
            self.residuals, self.groups, min(1.0, (len(self.slope) + len(self.centres)) / len(self.groups))
        )


def linear_features(public: Public, pivots: torch.Tensor) -> torch.Tensor:
    """What a head reads of pivots (N, L, d): (N, d).

    The backbone's final norm, or a plain layer norm where the backbone is private or the last state does not cross as
    it is: a linear head reads the same, behind a rotation too. An earlier layer's state only resembles the last one.
    """
    last = pivots[:, -1]
    if public.backbone is None or not share_known(public.facts):
        return layer_norm(last, last.shape[1:])
    return load_backbone(public.backbone).final_norm(last)


def fit(
    values: torch.Tensor,
    features: torch.Tensor,
    groups: int,
    generator: torch.Generator,
    labels: Sequence[torch.Tensor] = (),
) -> Mixture:
    """The mixture of values (N, D) on features (N, d) that leaves least; `labels` (N,) are guesses at groups, or -1."""
    rows = torch.randperm(len(values), generator=generator)[:FITTED].sort().values
    white = whitened(features)
    regression = Regression(values[rows], white[rows])
    best: Mixture | None = None
    for made in partitions(regression, features[rows], groups, generator, [guess[rows] for guess in labels]):
        found = regression.sharpened(regression.alternated(made, RIDGE))
        best = found if best is None or found.left < best.left else best
        if best.left < NEARLY:
            break
    assert best is not None
    best = regression.searched(best, groups, generator)
    if len(rows) == len(values):
        return best
    whole = Regression(values, white)
    return whole.alternated(nearest(whole.residuals(best.slope), best.centres), FINE)


class Regression:
    """Values (N, D) on whitened features (N, F); sums over all rows are taken once."""

    def __init__(self, values: torch.Tensor, features: torch.Tensor) -> None:
        self.values, self.features = values, features
        self._gram = features.T.double() @ features.double()
        self._moments = features.T.double() @ values.double()
        self._variance = float(squares(values - values.mean(0)).sum().clamp_min(1e-12))

    def residuals(self, slope: torch.Tensor) -> torch.Tensor:
        """(N, D) what a slope (F, D) leaves."""
        return self.values - self.features @ slope

    def slope(self, groups: torch.Tensor, ridge: float) -> torch.Tensor:
        """(F, D) ridge regression of values on features, both without their groups' means."""
        count = int(groups.max()) + 1
        x, v = means(self.features, groups, count).double(), means(self.values, groups, count).double()
        weighted = x.T * torch.bincount(groups, minlength=count)
        return solved(self._gram - weighted @ x, self._moments - weighted @ v, ridge * len(groups))

    def mixture(self, groups: torch.Tensor, ridge: float) -> Mixture:
        """The fit with given groups (N,)."""
        slope = self.slope(groups, ridge)
        residuals = self.residuals(slope)
        centres = means(residuals, groups, int(groups.max()) + 1)
        left = squares(residuals - centres[groups]).sum() / self._variance
        return Mixture(groups, slope, centres, residuals, float(left))

    def alternated(self, groups: torch.Tensor, ridge: float) -> Mixture:
        """Slope given groups and groups given the slope, until they stay."""
        for _ in range(ROUNDS):
            found = self.mixture(groups, ridge)
            before, groups = groups, nearest(found.residuals, found.centres)
            if torch.equal(before, groups):
                break
        return found

    def sharpened(self, found: Mixture) -> Mixture:
        """A fit improved by heeding rows less that lie far from every centre: wrong groups no longer bend the slope."""
        slope, centres = found.slope, found.centres
        tolerance = squares(found.residuals - centres[found.groups]).median()
        for _ in range(SHARPENED):
            apart, groups = torch.cdist(self.residuals(slope), centres).square().min(1)
            weights = (tolerance / (tolerance + apart).clamp_min(1e-30)).square()
            slope, centres = self._weighted(groups, weights.clamp_min(1e-6), len(centres))
            tolerance = tolerance / 1.7
        return self._better(found, nearest(self.residuals(slope), centres))

    def _weighted(self, groups: torch.Tensor, weights: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Slope (F, D) and centres (C, D) with a weight for each row."""
        total = torch.zeros(count).index_add(0, groups, weights).clamp_min(1e-12).unsqueeze(1)
        column = weights.unsqueeze(1)
        x, v = (
            torch.zeros(count, t.shape[1]).index_add(0, groups, t * column) / total
            for t in (self.features, self.values)
        )
        slope = weighted_slope(self.features - x[groups], self.values - v[groups], weights, FINE)
        return slope, v - x @ slope

    def searched(self, found: Mixture, groups: int, generator: torch.Generator) -> Mixture:
        """A fit improved: from groups by Ward's method anew, and by swaps while something is left within groups."""
        for search in range(SEARCHES):
            if found.left < EXACT:
                break
            anew = swapped(found.residuals, found.groups, generator) if search else grouped(found.residuals, groups)
            found = self.sharpened(self._better(found, anew))
        return found

    def _better(self, found: Mixture, groups: torch.Tensor) -> Mixture:
        """The same fit or the one that comes of other groups."""
        return min(found, self.alternated(groups, FINE), key=lambda one: one.left)


# --- starts ---------------------------------------------------------------------------------------------------


def partitions(
    regression: Regression,
    points: torch.Tensor,
    groups: int,
    generator: torch.Generator,
    labels: Sequence[torch.Tensor] = (),
) -> Iterator[torch.Tensor]:
    """Groups (N,) to start from: those that guesses at them extend to, and Ward's of what each slope leaves.

    Neighbours among the points (N, d) are often of one group.
    """
    values, features = regression.values, regression.features
    for guess in labels:
        if len(pairs := alike(guess, generator)):
            left = regression.residuals(slope_of_pairs(values, features, pairs))
            yield grouped(left, groups)
            numbers, dense = guess[guess >= 0].unique(return_inverse=True)
            yield nearest(left, means(left[guess >= 0], dense, len(numbers)))
    for slope in slopes(regression, points, generator):
        yield grouped(regression.residuals(slope), groups)


def slopes(regression: Regression, points: torch.Tensor, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Slopes (F, D) to start from: none, of pairs of neighbours among the points, and by chance.

    These are of neighbours by points and values, weighed by chance, and of all rows with a ridge drawn by chance.
    """
    values, features = regression.values, regression.features
    yield torch.zeros(features.shape[1], values.shape[1])
    if len(values) < 3 or not features.shape[1]:
        return
    alone, beside = (spread_out(part) for part in (points, values))
    everyone = torch.zeros(len(values), dtype=torch.int64)
    yield slope_of_pairs(values, features, neighbours(alone))
    for power in (2 * torch.rand(max(RESTARTS, TRIED // len(values)), generator=generator) - 1).tolist():
        yield slope_of_pairs(values, features, neighbours(torch.cat([alone, 10**power * beside], dim=1)))
        yield regression.slope(everyone, 10 ** (2 * power - 1))


def slope_of_pairs(values: torch.Tensor, features: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """(F, D) slope that most pairs (P, 2) of rows agree on: weights (s / (s + r^2))^2 for residuals r, with s falling.

    Right for pairs of one group, whatever the others do, as long as they do not agree among themselves.
    """
    x, v = (t[pairs[:, 0]] - t[pairs[:, 1]] for t in (features, values))
    slope = weighted_slope(x, v, torch.ones(len(x)))
    tolerance = squares(v - x @ slope).median()
    for _ in range(SHARPENED):
        weights = (tolerance / (tolerance + squares(v - x @ slope)).clamp_min(1e-30)).square()
        slope = weighted_slope(x, v, weights)
        tolerance = tolerance / 1.7
    return slope


def weighted_slope(x: torch.Tensor, v: torch.Tensor, weights: torch.Tensor, ridge: float = RIDGE) -> torch.Tensor:
    """(F, D) weighted least squares of v (P, D) on x (P, F)."""
    weighted = (x * weights.unsqueeze(1)).T
    return solved((weighted @ x).double(), (weighted @ v).double(), ridge * float(weights.sum()))


def solved(gram: torch.Tensor, moments: torch.Tensor, ridge: float) -> torch.Tensor:
    """(F, D) float32 solution of normal equations (F, F) and (F, D), with something added to the diagonal."""
    diagonal = (ridge + 1e-9) * torch.eye(len(gram), dtype=torch.float64)
    found: torch.Tensor = torch.linalg.solve(gram + diagonal, moments)
    return found.float()
