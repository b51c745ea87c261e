"""The tuned model from the averages that a federation server makes of all devices' updates.

Where devices tune the whole model the last average is the model. Where they tune what lies below a cut, the federation
server lacks the top: in collusion with the main server it takes that server's, alone it puts the public blocks above
the averaged bottom, and trains a head of its own on auxiliary labels.
Threat model: an honest-but-curious federation server that knows the backbone, the cut and where heads start.
Source: own derivation.

Shapes: B texts, T positions, d width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...system.backbone import load_backbone
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.rebuilt import answers, averaged


@dataclass(frozen=True)
class Average(Attack):
    """Backbone plus the last average."""

    name = "average"
    source = "own derivation"
    goal = Goal.MODEL
    needs = Needs(view=frozenset({"held:average"}), public=frozenset({"backbone", "queries"}))
    attacked = frozenset({"held:average"})

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the rebuilt model on the queries."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        return answers(averaged(backbone, public, view.held["average"], view.held.get("tuned")), public)
