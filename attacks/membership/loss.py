"""Members by the released side network's error on them: what it was trained on, it gets right.

Threat model: whoever holds the released side network and knows the backbone and the head; no message is needed.
Source: loss threshold, Yeom et al. 2018, arXiv 1709.01604, adversary 1; the loss is the training's own squared error,
of an adapter that was tuned elsewhere its cross-entropy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, MembershipScores, Prepared
from ..evidence.members.shadowed import ADDITIVE, RELEASED, membership, released_errors


@dataclass(frozen=True)
class Loss(Attack):
    """The smaller the error, the likelier a member."""

    name = "loss"
    source = "arXiv 1709.01604, adversary 1"
    goal = Goal.MEMBERS
    needs = RELEASED
    attacked = frozenset({"held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = ADDITIVE

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        return membership(public, -released_errors(view, public))
