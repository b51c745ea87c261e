"""The tuned model of a side network beside a secret head, or secret codewords, estimated from the differences.

The device adds the side network's outputs to a share that only it can compute. What the share is, differences tell:
groups of equal targets come of `regress`'s mixture, or of the one positive entry of a probability; within groups least
squares on the pivots gives the head (evidence/labels/secret_heads.py), up to what no difference tells. The stolen model
is the estimated share plus the outputs, and its class the nearest centre of the targets. A secret transform behind a
logit difference needs no undoing: head, centres and outputs all stand behind it. Names of the groups are as good as
known labels, auxiliary texts, or class names make them.

Where a head has more outputs than the backbone is wide, differences are first brought to the span of its columns.

Threat model: a server that knows the backbone and the kinds of defences, receives the pivot's last state and the
difference, and holds the side network.
Source: own derivation; the span of a head's columns: Carlini et al., arXiv 2403.06634.

Shapes: N samples, Q queries, d width, D values of a difference, C groups, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.differences import SHARE, class_scores, differences, undone
from ..evidence.labels.mixture import linear_features
from ..evidence.labels.secret_shares import estimated
from ..evidence.rebuilt import asked_pivots, stolen


@dataclass(frozen=True)
class Head(Attack):
    """Estimate the share, add the outputs."""

    name = "head"
    source = "own derivation; arXiv 2403.06634"
    goal = Goal.MODEL
    needs = Needs(
        view=frozenset({"difference", "activations", "held:tuned"}), public=frozenset({"backbone", "queries"})
    )
    attacked = frozenset({"difference", "held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {**SHARE, "fusion": ("additive",)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the rebuilt model on the queries."""
        assert public.backbone is not None
        backbone, found = load_backbone(public.backbone), differences(view, public)
        asked = asked_pivots(backbone, public, view.held["tuned"])
        outputs = undone(asked.outputs, public)
        if public.keys is not None or not found.ids:  # a control reveals the head: nothing is left to estimate
            return stolen(public, class_scores(public, outputs, asked.backbone_scores(backbone, public)))
        share = estimated(found, public, generator)
        return stolen(public, share.scores(linear_features(public, asked.states), outputs))
