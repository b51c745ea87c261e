"""The mixture of regressions where each sample's difference may have a secret factor of its own.

A target less the backbone's share is about equally long for all samples, so that equal lengths are a start. The fit
then says what each difference would be without its factor, which gives the factor by least squares, in turn.

Shapes: N samples, d width, D values, C groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ....system.public import Public
from .codewords import defence_settings, group_count
from .grouping import squares, whitened
from .mixture import EXACT, FINE, Mixture, Regression, fit

ROUNDS = 8
LEAST = 1e-3
"""Least factor, relative to that which brings all lengths to their mean: none may fall to zero or change its sign."""


def fit_as_sent(
    public: Public,
    values: torch.Tensor,
    features: torch.Tensor,
    generator: torch.Generator,
    labels: Sequence[torch.Tensor] = (),
) -> Mixture:
    """The mixture of values (N, D) on features (N, d) with the groups and the factors that public settings speak of."""
    fitted = fit_stretched if defence_settings(public, "scale").get("per_sample", False) else fit
    return fitted(values, features, group_count(public), generator, labels)


def fit_stretched(
    values: torch.Tensor,
    features: torch.Tensor,
    groups: int,
    generator: torch.Generator,
    labels: Sequence[torch.Tensor] = (),
) -> Mixture:
    """As `fit`, of values (N, D) times a factor that is unknown for each row; their mean length stays as it is."""
    lengths = squares(values).sqrt().clamp_min(1e-12)
    even = lengths.mean() / lengths
    white = whitened(features)
    found = fit(values * even.unsqueeze(1), features, groups, generator, labels)
    for _ in range(ROUNDS):
        if found.left < EXACT:
            break
        expected = found.centres[found.groups] + white @ found.slope
        factors = torch.maximum((values * expected).sum(1) / lengths.square(), LEAST * even)
        factors = factors * lengths.mean() / (factors * lengths).mean()
        regression = Regression(values * factors.unsqueeze(1), white)
        found = regression.sharpened(regression.alternated(found.groups, FINE))
    return found
