"""Bayes' rule over labels: what a difference says of the class, beside what activations say.

Shapes: N samples, L layers, d width, K classes, R rows of the candidates' book.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp

import torch
from torch.nn.functional import one_hot

from ....system.public import Public
from ..differences import Differences
from ..states import features, readable, share_known
from .candidates import Candidates, candidates_of
from .codewords import defence_settings, known_labels, named_groups
from .mixture import Mixture
from .naming import class_priors
from .probing import fitted, probabilities
from .reading import by_names
from .regressing import regressed

STEPS = 50
FEW = 1e-12
OPEN = frozenset(
    {
        "activation-noise", "decoy", "dp-side", "label-dp", "layers", "noise", "project", "quantise",
        "rotate-activations", "round-backbone",
    }
)  # fmt: skip
"""Defences behind which a candidate's difference is still known, as far as the backbone's share is."""
TRUST = 0.9
"""Share of the groups' names that are taken to be right."""
SURE = 3.0
"""Standard errors by which groups agree better with activations than groups of other samples, to be trusted at all."""
DOUBT = 0.2
"""Share of class priors in what activations say: people write otherwise than whoever the classifier learnt from."""

Taught = Mapping[str, torch.Tensor]
"""What texts and class names teach of activations: `rows` (M, F) with `labels` and `groups` (M,)."""


def likeliest(found: Differences, public: Public, learnt: Taught, generator: torch.Generator) -> torch.Tensor:
    """The likeliest label (N,) of each sample; there must be one."""
    prior, response = before(found, public, learnt), responses(public)
    if secret_form(public):
        seen = by_groups(found, public, prior @ response, generator)
    else:
        candidates = candidates_of(public, found.pivots)
        squares = distances(found.values.double(), candidates)
        seen = likelihoods(squares, candidates.owners, candidates.book.shape[1], prior @ response)
    return (prior * (seen @ response.T)).argmax(1)


def before(found: Differences, public: Public, prepared: Taught) -> torch.Tensor:
    """Class probabilities (N, K) in float64 by activations alone: from labelled rows, else from class names."""
    told, pivots = known_labels(public, found.ids), found.pivots
    if not readable(public):
        said = probabilities(pivots[told >= 0], told[told >= 0], pivots, len(public.labels))
    elif public.auxiliary or len(told[told >= 0].unique()) > 1:
        said = taught(features(pivots), told, prepared, len(public.labels))
    else:
        said = by_names(pivots, public)
    return ((1 - DOUBT) * said + DOUBT * class_priors(public)).double().clamp(min=FEW)


def taught(rows: torch.Tensor, told: torch.Tensor, prepared: Taught, classes: int) -> torch.Tensor:
    """Class probabilities (N, K) of rows (N, F), whose labels (N,) are known or -1, as prepared rows teach them too."""
    known = rows[told >= 0]
    learnt, labels = torch.cat([prepared["rows"], known]), torch.cat([prepared["labels"], told[told >= 0]])
    groups = torch.cat([prepared["groups"], prepared["groups"].max() + 1 + torch.arange(len(known))])
    return fitted(learnt, labels, classes, groups=groups).probabilities(rows)


def responses(public: Public) -> torch.Tensor:
    """(K, K): how likely the device uses each class (column) for a sample of each label (row)."""
    classes = len(public.labels)
    settings = defence_settings(public, "label-dp")
    if not settings:
        return torch.eye(classes, dtype=torch.float64)
    kept = 1 / (1 + (classes - 1) * exp(-settings["epsilon"]))
    other = (1 - kept) / max(classes - 1, 1)
    return torch.full((classes, classes), other, dtype=torch.float64).fill_diagonal_(kept)


def secret_form(public: Public) -> bool:
    """Whether a head, transform, factor, code or state is secret, so that no candidate's difference is known."""
    defences = public.facts.get("defences", {})
    if not share_known(public.facts):
        return True
    anew = any(settings.get("per_sample") for settings in defences.values())
    return public.head is None or anew or (public.keys is None and not defences.keys() <= OPEN)


def by_groups(found: Differences, public: Public, prior: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(N, K): how likely each class was used, by the groups that `regress` finds; all alike where these say nothing.

    From the prior (N, K) of the classes used.
    """
    guess = regressed(found, public, generator)
    if guess.mixture is None:
        return one_hot(guess.labels, prior.shape[1]).double().clamp(min=FEW)
    others = guess.mixture.groups[torch.randperm(len(prior), generator=generator)]
    by_chance = named_groups(others, public, found.ids, found.pivots)
    unknown = known_labels(public, found.ids) < 0  # known labels have named the groups
    agreed, expected = (prior.gather(1, labels.unsqueeze(1))[unknown] for labels in (guess.labels, by_chance))
    error = ((agreed.var() + expected.var()) / len(agreed)).sqrt()
    trust = TRUST if agreed.mean() - expected.mean() > SURE * error else 0.0
    return trust * shares(guess.mixture, guess.labels, prior) + (1 - trust) / prior.shape[1]


def shares(mixture: Mixture, labels: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    """(N, K): to which class's group each sample belongs; labels (N,) name the groups, prior as in `likelihoods`."""
    present, place = mixture.groups.unique(return_inverse=True)
    owners = torch.zeros(len(present), dtype=torch.int64).scatter(0, place, labels)
    centres = mixture.centres[present].double()
    squares = torch.cdist(mixture.residuals.double(), centres).square()
    seen = likelihoods(squares, owners, centres.shape[1], prior)
    return seen / seen.sum(1, keepdim=True)


def distances(values: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Squared distances (N, R) of differences (N, D) to the candidates, in the columns that both have."""
    width = candidates.book.shape[1]
    values = torch.nn.functional.pad(values, (0, max(0, width - values.shape[1])))[:, :width]
    crossed = values.square().sum(1, keepdim=True) - 2 * candidates.dots(values) + candidates.squares()
    return crossed.clamp(min=0)


def likelihoods(squares: torch.Tensor, owners: torch.Tensor, width: int, prior: torch.Tensor) -> torch.Tensor:
    """(N, K), each row's largest 1: of what came, for every class that the device may have used.

    From squared distances (N, R) to candidates of so many values, which belong to classes (R,), and from the prior
    (N, K) of the classes used; the variance of the noise is fitted.
    """
    of_rows = prior[:, owners].log()
    variance = squares.min(1).values.mean() / width
    for _ in range(STEPS):
        variance = variance.clamp(min=FEW)
        weights = (of_rows - squares / (2 * variance)).softmax(1)
        variance = (weights * squares).sum(1).mean() / width
    nearer = squares.min(1, keepdim=True).values - squares
    rows = (nearer / (2 * variance.clamp(min=FEW))).exp()
    return torch.zeros_like(prior).index_add(1, owners, rows)
