"""Labels by adding back the backbone's output, recomputed from the pivot with the public head.

difference + f(A_L) is the target that the device formed: one-hot, or a multiple of it.
Threat model: a server that knows the backbone's final norm and the head, and receives the pivot's last state.
Source: own derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch

from ...system.backbone import load_backbone
from ...system.difference import DifferenceKind, fused
from ...system.heads import scores
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared


@dataclass(frozen=True)
class AddBack(Attack):
    """Undoes the subtraction."""

    name = "addback"
    source = "own derivation"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone", "head"}))
    attacked = frozenset({"difference"})

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """argmax of each difference plus f(A_L), both (samples, K)."""
        assert public.backbone is not None
        assert public.head is not None
        ids, difference = view.rows("difference", "difference")
        where = {sample_id: i for i, sample_id in enumerate(ids)}
        order, activations = view.rows("activations", "activations")
        kept = [i for i, sample_id in enumerate(order) if sample_id in where]
        pivots = activations[kept, -1]
        f_b = scores(public.head["weight"], load_backbone(public.backbone), pivots)
        share = fused(cast(DifferenceKind, public.facts["difference"]), f_b)
        target = difference[[where[order[i]] for i in kept]] + share
        return LabelGuess(tuple(order[i] for i in kept), target.argmax(1))
