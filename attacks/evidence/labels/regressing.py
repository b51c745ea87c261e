"""Groups of differences whose backbone share is secret, by the mixture of regressions, and their names.

Names: with a secret head alone the centres are one-hot rows, up to a shift that all share, so the entry that stands out
names the class; otherwise groups are named by known labels, auxiliary texts, class names and priors.

Shapes: N samples, L layers, d width, K classes, D values, C groups.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ....system.public import Public
from ..differences import Differences
from ..states import auxiliary_states, readable
from .codewords import decoded, known_labels, named_groups
from .mixture import Mixture, linear_features
from .probing import probabilities
from .stretched import fit_as_sent

TRANSFORMS = frozenset({"permute", "rotate"})
PRONOUNCED = 0.5
"""Least median share of a centre's squared length in its largest entry that is taken for one-hot rows."""


class Regressed(NamedTuple):
    """What regression says of each sample."""

    labels: torch.Tensor
    """(N,) the class that the device used"""
    mixture: Mixture | None
    """The fit whose groups were named; None where there was nothing to fit, or a key gave the labels."""


def regressed(found: Differences, public: Public, generator: torch.Generator) -> Regressed:
    """Groups by one slope for all, and their names."""
    if not found.ids:
        return Regressed(torch.empty(0, dtype=torch.int64), None)
    if (labels := decoded(found, public)) is not None:
        return Regressed(labels, None)
    guesses = [known_labels(public, found.ids), read(found.pivots, public, generator)]
    features = linear_features(public, found.pivots)
    told = [guess for guess in guesses if (guess >= 0).any()]
    mixture = fit_as_sent(public, found.values, features, generator, told)
    labels = named_by_entry(mixture, public)
    if labels is None:
        labels = named_groups(mixture.groups, public, found.ids, found.pivots)
    return Regressed(labels, mixture)


def read(pivots: torch.Tensor, public: Public, generator: torch.Generator) -> torch.Tensor:
    """(N,) labels of pivots (N, L, d) as auxiliary texts teach them, -1 without any or behind a secret map."""
    if not readable(public) or len({example.label for example in public.auxiliary}) < 2:
        return torch.full((len(pivots),), -1)
    states, labels = auxiliary_states(public, generator)
    return probabilities(states, labels, pivots, len(public.labels)).argmax(1)


def named_by_entry(mixture: Mixture, public: Public) -> torch.Tensor | None:
    """(N,) labels where centres are rows of a multiple of the identity, up to one shift; None where they are not.

    Few centres are high in a column, so that a low quantile of the column is the shift.
    """
    classes = len(public.labels)
    if mixture.centres.shape[1] < classes or hidden(public):
        return None
    present = mixture.centres[mixture.groups.unique()]
    shift = present.quantile(0.25, dim=0, interpolation="lower")
    raised = (present - shift).clamp_min(0)
    share = raised.max(1).values.square() / (present - shift).square().sum(1).clamp_min(1e-12)
    if share.median() < PRONOUNCED:
        return None
    return (mixture.centres - shift)[:, :classes].argmax(1)[mixture.groups]


def hidden(public: Public) -> bool:
    """Whether an entry of the difference belongs to no class that the adversary could name."""
    defences = set(public.facts.get("defences", {}))
    revealed = public.keys is not None and "transform" in public.keys
    return "code" in defences or (bool(defences & TRANSFORMS) and not revealed)
