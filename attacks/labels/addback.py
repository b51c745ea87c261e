"""Labels by adding back the backbone's output, recomputed from the pivot with the public head.

difference + f(A_L) is the target that the device formed: one-hot, or a multiple of it.
Threat model: a server that knows the backbone's final norm and the head, and receives the pivot's last state.
Source: own derivation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import SHARE, backbone_scores, class_scores, differences


@dataclass(frozen=True)
class AddBack(Attack):
    """Undoes the subtraction."""

    name = "addback"
    source = "own derivation"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone", "head"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = SHARE

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """argmax of each difference plus f(A_L), both (samples, K); with revealed codewords the nearest one's class."""
        seen = differences(view, public)
        found = class_scores(public, seen.values, backbone_scores(public, seen.pivots))
        return LabelGuess(seen.ids, found.argmax(1))
