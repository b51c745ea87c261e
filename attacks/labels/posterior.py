"""Labels by Bayes' rule, from the difference and from what activations say of the class.

Noise or randomised response leaves a single difference undecided; whoever guesses a label weighs it with what else is
known. The class z that the device used gives the difference x_z, blurred by Gaussian noise whose variance is fitted;
randomised response, whose epsilon is public, made z of the label y; and how likely y was before the difference came,
activations say: by auxiliary texts and known labels, else by class names and priors. With the true likelihoods and
prior no guess is right more often.

Where the head, a transform, a factor or codewords are secret, the class that was used is what `regress` finds, right
but for one time in ten.
Threat model: a server that knows the backbone, receives pivots, and knows the defences' settings.
Source: Bayes' rule; the fit is expectation maximisation, Dempster, Laird and Rubin 1977.

Shapes: N samples, L layers, d width, K classes, R rows of the candidates' book.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.candidates import Candidates, candidates_of
from ..evidence.codewords import defence_settings, known_labels
from ..evidence.differences import Differences, differences
from ..evidence.naming import class_priors
from ..evidence.probing import probabilities
from ..evidence.reading import by_names
from ..evidence.states import auxiliary_states
from .regress import regressed

STEPS = 50
FEW = 1e-12
OPEN = frozenset({"decoy", "label-dp", "noise"})
"""Defences behind which a candidate's difference is still known."""
WRONG = 0.1
"""How often a class that `regress` finds was not the one that was used."""
DOUBT = 0.2
"""Share of class priors in what names say of a sample: unlike a probe's, it was fitted to no label."""


@dataclass(frozen=True)
class Posterior(Attack):
    """The likeliest label, all things considered."""

    name = "posterior"
    source = "Bayes' rule"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"difference"})

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The label (N,) of every sample that sent both kinds."""
        found = differences(view, public)
        if not found.ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        prior, response = before(found, public), responses(public)
        if secret_form(public):
            seen = believed(regressed(found, public, generator), len(public.labels))
        else:
            candidates = candidates_of(public, found.pivots)
            squares = distances(found.values.nan_to_num().double(), candidates)
            seen = likelihoods(squares, candidates, prior @ response)
        return LabelGuess(found.ids, (prior * (seen @ response.T)).argmax(1))


def before(found: Differences, public: Public) -> torch.Tensor:
    """Class probabilities (N, K) in float64 by activations alone."""
    told, known = known_labels(public, found.ids), found.pivots.nan_to_num()
    states, labels = auxiliary_states(public)
    if len(labels):
        states, labels = torch.cat([states, known[told >= 0]]), torch.cat([labels, told[told >= 0]])
    else:
        states, labels = known[told >= 0], told[told >= 0]
    if len(labels.unique()) > 1:
        return probabilities(states, labels, known, len(public.labels)).double().clamp(min=FEW)
    shares = (1 - DOUBT) * by_names(known, public) + DOUBT * class_priors(public)
    return shares.double().clamp(min=FEW)


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
    """Whether a head, transform, factor or code is secret, so that no candidate's difference can be computed."""
    defences = public.facts.get("defences", {})
    anew = any(settings.get("per_sample") for settings in defences.values())
    return public.head is None or anew or (public.keys is None and not defences.keys() <= OPEN)


def believed(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(N, K): how likely each class was used, by labels (N,) that may be wrong."""
    others = torch.full((len(labels), classes), WRONG / classes, dtype=torch.float64)
    return others.scatter_add(1, labels.unsqueeze(1), torch.full((len(labels), 1), 1 - WRONG, dtype=torch.float64))


def distances(values: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Squared distances (N, R) of differences (N, D) to the candidates, in the columns that both have."""
    width = candidates.book.shape[1]
    values = torch.nn.functional.pad(values, (0, max(0, width - values.shape[1])))[:, :width]
    crossed = values.square().sum(1, keepdim=True) - 2 * candidates.dots(values) + candidates.squares()
    return crossed.clamp(min=0)


def likelihoods(squares: torch.Tensor, candidates: Candidates, prior: torch.Tensor) -> torch.Tensor:
    """(N, K), each row's largest 1: of what came, for every class that the device may have used.

    From squared distances (N, R) and the prior (N, K) of the classes used; the variance of the noise is fitted.
    """
    width = candidates.book.shape[1]
    of_rows = prior[:, candidates.owners].log()
    variance = squares.min(1).values.mean() / width
    for _ in range(STEPS):
        variance = variance.clamp(min=FEW)
        weights = (of_rows - squares / (2 * variance)).softmax(1)
        variance = (weights * squares).sum(1).mean() / width
    nearer = squares.min(1, keepdim=True).values - squares
    rows = (nearer / (2 * variance.clamp(min=FEW))).exp()
    return torch.zeros_like(prior).index_add(1, candidates.owners, rows)
