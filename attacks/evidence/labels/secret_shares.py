"""The backbone's share of a difference where the device alone has the head: what it is, and whose each target is.

Shapes: N samples, Q queries, L layers, d width, D values of a difference, C groups, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ....system.public import Public
from ..differences import Differences
from .codewords import defence_settings, named_groups
from .grouping import means, whitened
from .mixture import Mixture, linear_features
from .regressing import hidden, regressed
from .secret_heads import Slope, in_span, one_positive, slope_of, softmax_slope, with_ones
from .unseen import below_seen


class Share(ABC):
    """An estimated share."""

    @abstractmethod
    def scores(self, features: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Class scores (Q, K) of what a head reads (Q, d) and a side network's outputs (Q, D)."""


@dataclass(frozen=True)
class LinearShare(Share):
    """Of logits or codewords: targets are equal to their centres, behind whatever transform."""

    slope: Slope
    centres: torch.Tensor
    """(K, D) each class's mean target; not a number where it has none."""

    def scores(self, features: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """By nearness to the centres."""
        targets = outputs - self.slope.share(features)
        near = targets @ self.centres.T - 0.5 * self.centres.square().sum(1)
        return below_seen(near, ~self.centres.isnan().any(1))


@dataclass(frozen=True)
class SoftmaxShare(Share):
    """Of probabilities in an order that may be secret."""

    slope: Slope
    names: torch.Tensor
    """(D,) the class of each value; K where it is of none that is known."""
    classes: int

    def scores(self, features: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """The largest value that is a class's own."""
        values = self.slope.share(with_ones(features)).softmax(1) + outputs
        found = torch.full((len(values), self.classes + 1), -torch.inf)
        found = found.scatter_reduce(1, self.names.expand_as(values), values, "amax")[:, : self.classes]
        return below_seen(found, torch.isin(torch.arange(self.classes), self.names))


def estimated(found: Differences, public: Public, generator: torch.Generator) -> Share:
    """The share that explains the differences."""
    stretched = "scale" in public.facts.get("defences", {}) and public.keys is None
    if public.facts["difference"] == "probability" and one_positive(found.values) and not stretched:
        features = linear_features(public, found.pivots)
        names = _names(found, public)
        return SoftmaxShare(softmax_slope(found.values, features), names, len(public.labels))
    return _linear(found, public, generator)


def _names(found: Differences, public: Public) -> torch.Tensor:
    """(D,) the class of each value of the differences; a class's own unless their order is secret.

    K stands for a decoy class's, and in a secret order for one that no sample had.
    """
    width, classes = found.values.shape[1], len(public.labels)
    if not hidden(public):
        return torch.arange(width).clamp(max=classes)
    columns = found.values.argmax(1)
    named = named_groups(columns, public, found.ids, found.pivots)
    return torch.full((width,), classes).scatter(0, columns, named)


def _linear(found: Differences, public: Public, generator: torch.Generator) -> LinearShare:
    features = linear_features(public, found.pivots)
    guess = regressed(found, public, generator)
    groups, values = guess.labels, found.values
    if guess.mixture is not None:
        groups = guess.mixture.groups.unique(return_inverse=True)[1]
        values = unstretched(values, guess.mixture, features, public)
    values = in_span(values, groups)
    slope = slope_of(values, features, groups)
    centres = means(values - slope.share(features), groups, int(groups.max()) + 1)
    owners = torch.zeros(len(centres), dtype=torch.int64).scatter(0, groups, guess.labels)
    targets = means(centres, owners, len(public.labels))
    targets[torch.bincount(owners, minlength=len(targets)) == 0] = torch.nan
    return LinearShare(slope, targets)


def unstretched(values: torch.Tensor, mixture: Mixture, features: torch.Tensor, public: Public) -> torch.Tensor:
    """Values (N, D) without factors of the samples' own, whose mean is one, as the mixture found them."""
    if not defence_settings(public, "scale").get("per_sample", False):
        return values
    evened = mixture.residuals + whitened(features) @ mixture.slope
    factors = (values * evened).sum(1) / evened.square().sum(1).clamp_min(1e-30)
    return evened * factors.mean()
