"""The tuned model from what the server holds and a few known labels a class: a map from side outputs to labels.

Whatever hides behind a difference, the device reads labels off the side network's outputs, and so can whoever learns
how from rows whose labels are known. All rows that crossed are labelled first, as `fewshot` labels them; least
squares then learn from all of them how labels follow from the outputs, from what the backbone takes away, as far as
that is public or can be estimated, and from what a head reads of the pivot. The features and the ridge that give
withheld rows' labels with the least error are taken and asked about the queries.

Threat model: a server that knows the backbone, receives differences and pivots, holds the side network, and knows the
labels of 1, 5 or 20 rows of each class, by their ids. The twin has the same labels, the backbone and the pivots: only
the gap to it is extraction.
Source: model completion, Fu et al., USENIX Security 2022; the choice of features is ours.

Shapes: N samples, Q queries, L layers, d width, K classes, D values, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch.nn.functional import one_hot

from ...system.backbone import load_backbone
from ...system.public import Public
from ...system.side_network import from_state
from ...system.view import View, finite
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.differences import Differences, backbone_share, differences, share_of
from ..evidence.labels.completing import completed
from ..evidence.labels.mixture import linear_features
from ..evidence.labels.secret_heads import slope_of
from ..evidence.rebuilt import Pivots, asked_pivots, stolen
from ..evidence.states import PLAIN, PROJECTED, share_known, within

FOLDS = 5
RIDGES = (1e-6, 1e-4, 1e-2)
"""Added to the features' covariance, in units of its mean variance."""
TINY = 1e-12


@dataclass(frozen=True)
class Complete(Attack):
    """Label all rows, learn how labels follow from outputs."""

    name = "complete"
    source = "model completion: Fu et al., USENIX Security 2022"
    goal = Goal.MODEL
    needs = Needs(
        view=frozenset({"difference", "activations", "held:tuned"}), public=frozenset({"backbone", "known", "queries"})
    )
    attacked = frozenset({"difference", "held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"activations": (PLAIN, PROJECTED), "fusion": ("additive",)}

    rounds: int = 3
    """Rounds of self-training, where it is used."""

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) on the queries."""
        assert public.backbone is not None
        backbone, found = load_backbone(public.backbone), differences(view, public)
        asked = asked_pivots(backbone, public, view.held["tuned"])
        classes = len(public.labels)
        if not found.ids:
            return stolen(public, torch.zeros(len(public.queries), classes))
        labels = completed(view, public, found, generator, self.rounds)
        sides = both_sides(view, public, found, asked, labels)
        return stolen(public, chosen(sides, labels, classes, generator))


class Sides(NamedTuple):
    """The same features of rows that crossed and of queries."""

    rows: torch.Tensor
    """(N, F)"""
    queries: torch.Tensor
    """(Q, F)"""


def both_sides(view: View, public: Public, found: Differences, asked: Pivots, labels: torch.Tensor) -> list[Sides]:
    """Outputs; with what the backbone takes away, where it is known; without its linear part; with the pivots."""
    outputs = Sides(finite(from_state(view.held["tuned"])(found.received)), asked.outputs)
    states = within(asked.states, public)  # of what crossed, a revealed projection has kept a part
    read = Sides(linear_features(public, found.pivots), linear_features(public, states))
    slope = slope_of(found.values, read.rows, labels)
    rest = Sides(*(out - slope.share(features) for out, features in zip(outputs, read, strict=True)))
    sides = [outputs, rest, beside(outputs, read)]
    known = asked.backbone_scores(load_backbone(public.backbone or ""), public)
    if known is not None and share_known(public.facts):
        sides.insert(0, beside(outputs, Sides(backbone_share(public, found.pivots), share_of(public, known))))
    return sides


def beside(one: Sides, other: Sides) -> Sides:
    """The features of both."""
    return Sides(*(torch.cat(pair, 1) for pair in zip(one, other, strict=True)))


def chosen(sides: list[Sides], labels: torch.Tensor, classes: int, generator: torch.Generator) -> torch.Tensor:
    """Class scores (Q, K) by the features and the ridge with the least squared error on withheld rows."""
    goals = one_hot(labels, classes).double()
    folds = torch.randperm(len(labels), generator=generator) % FOLDS
    ways = [(side, ridge) for side in sides for ridge in RIDGES]

    def error(way: tuple[Sides, float]) -> float:
        side, ridge = way
        parts = [(folds == fold) for fold in range(FOLDS)]
        return sum(
            float((solved(side.rows[~held], goals[~held], ridge, side.rows[held]) - goals[held]).square().sum())
            for held in parts
            if held.any() and not held.all()
        )

    best, ridge = min(ways, key=error)
    return solved(best.rows, goals, ridge, best.queries).float()


def solved(rows: torch.Tensor, goals: torch.Tensor, ridge: float, queries: torch.Tensor) -> torch.Tensor:
    """Ridge regression of goals (N, K) on rows (N, F), at queries (Q, F)."""
    middle, mean = rows.double().mean(0), goals.mean(0)
    x = rows.double() - middle
    gram = x.T @ x
    damped = gram + (ridge * float(gram.trace()) / len(gram) + TINY) * torch.eye(len(gram), dtype=torch.float64)
    found: torch.Tensor = (queries.double() - middle) @ torch.linalg.solve(damped, x.T @ (goals - mean)) + mean
    return found
