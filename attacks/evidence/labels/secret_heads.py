"""A head that only the device knows, estimated from differences and pivots, as far as they tell it.

A logit difference is `c_y - W a`: given the groups of the centres c, the slope W follows from least squares on what
differs within groups. It is found behind any secret linear map as well, and then stands behind that map too. A
probability difference is `e_y - softmax(W a)`: its one positive entry is the class, which leaves the softmax, whose
logarithm is linear in a: W is found up to a row that all classes share, which no softmax tells.

What needs no pivot: differences of a head wider than the backbone lie in few directions, as many as the backbone's
width and the centres' number allow. Their span is that of the head's columns, and its dimension gives the width away.
Sources: width and span of an output projection, Carlini et al. (arXiv 2403.06634, sections 4.1 and 4.2); the rest ours.

Shapes: N samples, Q queries, d width, D values of a difference, C groups.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn.functional import one_hot

from .grouping import means

SMALLEST = 1e-6
"""Singular value, over the largest, below which rounding of single precision is all there is."""
ONE_POSITIVE = 0.95
"""Least share of differences with one positive entry for which that entry is taken to stand for the class."""
LEAST = 1e-12
"""Least probability, or relative singular value, whose logarithm is taken."""
LOST = 1e-3
"""Probability of the class itself below which single precision has too few digits left."""
FILLED = 100
DROP = 2.5
"""Natural logarithm of the ratio of two singular values between which a head's end: a trained model's fall slowly."""


class Span(NamedTuple):
    """Where the columns of a head lie."""

    width: int
    """How many directions there are: the width of what the head reads, where outputs are more."""
    basis: torch.Tensor
    """(width, D) orthonormal"""


def span_of(values: torch.Tensor, groups: torch.Tensor) -> Span:
    """The span of a linear head behind differences (N, D), by what differs within groups (N,) of equal targets.

    Where one target alone crosses, all differences are one group. The head's singular values stand above the largest
    drop, as in the paper; without a drop by more than DROP all directions are the head's.
    """
    inside = (values - means(values, groups, int(groups.max()) + 1)[groups]).double()
    _, sizes, directions = torch.linalg.svd(inside, full_matrices=False)
    logs = (sizes / sizes[0].clamp_min(LEAST)).clamp_min(LEAST).log()
    drops = logs[:-1] - logs[1:]
    width = int(drops.argmax()) + 1 if len(drops) and float(drops.max()) > DROP else len(logs)
    return Span(width, directions[:width].float())


def in_span(values: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Differences (N, D) without what lies outside the head's span: rounding and noise."""
    basis = span_of(values, groups).basis
    centres = means(values, groups, int(groups.max()) + 1)[groups]
    return centres + (values - centres) @ basis.T @ basis


class Slope(NamedTuple):
    """A linear share: values are centres plus `features @ weight`."""

    weight: torch.Tensor
    """(d, D) in float64"""
    middle: torch.Tensor
    """(d,) features where the share is taken to be zero: a constant part belongs to the centres."""

    def share(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D) of features (N, d)."""
        found: torch.Tensor = (features.double() - self.middle) @ self.weight
        return found.float()


def slope_of(values: torch.Tensor, features: torch.Tensor, groups: torch.Tensor) -> Slope:
    """Least squares of values (N, D) on features (N, d), both without their groups' means, of least length."""
    count = int(groups.max()) + 1
    x, v = (part.double() - means(part, groups, count)[groups].double() for part in (features, values))
    weight = torch.linalg.lstsq(x, v, rcond=SMALLEST, driver="gelsd").solution
    return Slope(weight, features.double().mean(0))


def one_positive(values: torch.Tensor) -> bool:
    """Whether differences (N, D) are of probabilities, in whatever order: one entry of each is positive."""
    return values.shape[1] > 1 and float(((values > 0).sum(1) == 1).float().mean()) >= ONE_POSITIVE


def softmax_slope(values: torch.Tensor, features: torch.Tensor) -> Slope:
    """The head behind probability differences (N, D), up to what all classes share; its constant part is no zero.

    The features get a column of ones at the end, since a head may have a bias. A small probability of the class itself
    is lost in the rounding of one less it, and others may be rounded to zero: the fit fills these in, in turn.
    """
    kept = (values > 0).sum(1) == 1
    own = one_hot(values[kept].argmax(1), values.shape[1])
    softmax, x = (own - values[kept]).double(), with_ones(features[kept]).double()
    exact = softmax > torch.where(own > 0, LOST, LEAST)
    logs = softmax.clamp_min(LEAST).log()
    inverse = torch.linalg.pinv(x, rtol=SMALLEST)
    for _ in range(FILLED):
        weight = inverse @ (logs - logs.mean(1, keepdim=True))
        fitted = x @ weight
        level = torch.where(exact, logs - fitted, 0).sum(1, keepdim=True) / exact.sum(1, keepdim=True).clamp_min(1)
        logs = torch.where(exact, logs, fitted + level)
    return Slope(weight, torch.zeros(x.shape[1], dtype=torch.float64))


def with_ones(features: torch.Tensor) -> torch.Tensor:
    """(N, d + 1)"""
    return torch.cat([features, torch.ones(len(features), 1)], 1)
