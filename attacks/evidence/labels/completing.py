"""Labels of all rows from a few known ones: learners of what crossed, and the choice among them.

Linear discriminants of what is left of a difference without its backbone share, of the difference as it came, of the
side network's outputs, of the pivots and of all together are fitted on the known rows, with and without training on
their own guesses (self-training). The learner that predicts withheld known rows best is taken; with one row a class
there are none to withhold, and groups that lie apart are trusted, or else the outputs, which average over samples.

Shapes: N samples, L layers, d width, K classes, D values, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from ....system.public import Known, Public
from ....system.side_network import from_state
from ....system.view import View, finite
from ..differences import Differences
from .codewords import decoded, known_labels, named_groups
from .grouping import discriminated, main_directions, spread_out
from .mixture import Mixture, linear_features
from .stretched import fit_as_sent

Learner = Callable[[torch.Tensor], torch.Tensor]
"""From labels (N,) that are known, -1 elsewhere, to a label for each sample (N,)."""
FOLDS = 3
APART = 0.5
"""Separation from which groups are trusted without a test."""
DIRECTIONS = 128


def completed(view: View, public: Public, found: Differences, generator: torch.Generator, rounds: int) -> torch.Tensor:
    """A label (N,) for each sample, the known ones' as known; so many rounds of self-training, where it is used."""
    known = known_labels(public, found.ids)
    if (labels := decoded(found, public)) is not None:
        return torch.where(known >= 0, known, labels)
    mixture = fit_as_sent(public, found.values, linear_features(public, found.pivots), generator, [known])
    learners = [by_groups(mixture, public, found)]
    for points in kinds_of_points(view, found, mixture):
        learners += [by_points(points, len(public.labels), times) for times in (0, rounds)]
    chosen = choose(learners, known, mixture.separation, generator)
    return torch.where(known >= 0, known, chosen(known))


def by_groups(mixture: Mixture, public: Public, found: Differences) -> Learner:
    """Names the groups of the mixture."""

    def learnt(known: torch.Tensor) -> torch.Tensor:
        rows = (known >= 0).nonzero().squeeze(1).tolist()
        told = tuple(Known(found.ids[i], public.labels[int(known[i])]) for i in rows)
        return named_groups(mixture.groups, replace(public, known=told), found.ids, found.pivots)

    return learnt


def by_points(points: torch.Tensor, classes: int, rounds: int) -> Learner:
    """A linear discriminant of points (N, F), trained on its own guesses as well for some rounds."""

    def learnt(known: torch.Tensor) -> torch.Tensor:
        labels = discriminated(points, known, classes).argmax(1)
        for _ in range(rounds):
            labels = discriminated(points, torch.where(known >= 0, known, labels), classes).argmax(1)
        return labels

    return learnt


def kinds_of_points(view: View, found: Differences, mixture: Mixture) -> list[torch.Tensor]:
    """Outputs (N, F), everything, and its other parts: the difference without its share, as it came, and pivots."""
    with torch.no_grad():
        outputs = finite(from_state(view.held["tuned"])(found.received))
    pivots = main_directions(found.pivots.flatten(1), DIRECTIONS)
    outputs, residuals, values = (spread_out(part) for part in (outputs, mixture.residuals, found.values))
    whole = torch.cat([outputs, residuals, values, pivots], dim=1)
    return [outputs, whole, torch.cat([residuals, pivots], dim=1), residuals, values, pivots]


def choose(learners: list[Learner], known: torch.Tensor, apart: float, generator: torch.Generator) -> Learner:
    """The learner that predicts withheld known labels best; the first of equals.

    Of the learners, the first names groups and the third goes by the outputs, trained on its own guesses.
    """
    turn = turns(known, generator)
    if int(turn.max()) < 1:
        return learners[0] if apart >= APART else learners[2]
    right = [0] * len(learners)
    for fold in range(FOLDS):
        held = (turn == fold) & (known >= 0)
        if not held.any():
            continue
        rest = torch.where(held, -1, known)
        for i, learner in enumerate(learners):
            right[i] += int((learner(rest)[held] == known[held]).sum())
    return learners[right.index(max(right))]


def turns(known: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(N,) the fold in which a known row is withheld, dealt out class by class; -1 for a row that is not known."""
    turn = torch.full_like(known, -1)
    for label in known[known >= 0].unique():
        rows = (known == label).nonzero().squeeze(1)
        turn[rows[torch.randperm(len(rows), generator=generator)]] = torch.arange(len(rows)) % FOLDS
    return turn
