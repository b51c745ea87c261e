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

from ...system.backbone import Backbone, load_backbone
from ...system.partial import SelectedTop, stored_bottom, stored_top
from ...system.public import Public
from ...system.selector import select
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.rebuilt import Model, answers, own_head, upon_bottom


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
        return answers(rebuilt(backbone, view, public), public)


def rebuilt(backbone: Backbone, view: View, public: Public) -> Model:
    """The model, as far as the view's parties hold its parts."""
    average, selector = view.held["average"], public.facts["selector"]
    if "head" in average:
        whole = stored_bottom(backbone, len(backbone.blocks), average)

        def headed(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return select(backbone.final_norm(states), mask, selector) @ average["head"].T + average["bias"]

        return upon_bottom(backbone, public, headed, whole)
    cut = public.facts["cut"]
    bottom = stored_bottom(backbone, cut, average)
    if "tuned" in view.held:
        return upon_bottom(backbone, public, stored_top(backbone, cut, selector, view.held["tuned"]), bottom)
    top = SelectedTop(backbone, cut, 0, selector, torch.Generator())
    return own_head(upon_bottom(backbone, public, top, bottom), backbone, public)
