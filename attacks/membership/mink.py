"""Members by the least likely tokens of a text: what a language model was trained on has few that surprise it.

Threat model: whoever holds a released adapter and knows its backbone, or may ask the tuned model for probabilities.
Source: Min-K% Prob, Shi et al. 2024, arXiv 2310.16789.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.released import FUSIONS, LANGUAGE
from ...system.view import View, finite
from ..attack import Attack, Goal, MembershipScores, Needs, Prepared
from ..evidence.adapted import challenged_examples, released_model
from ..evidence.members.shadowed import membership


@dataclass(frozen=True)
class MinK(Attack):
    """The mean logarithm of the least probabilities."""

    name = "mink"
    source = "arXiv 2310.16789"
    goal = Goal.MEMBERS
    needs = Needs(view=frozenset({"held:tuned"}), public=frozenset({"backbone", "challenge"}))
    attacked = frozenset({"held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"fusion": (FUSIONS[LANGUAGE],)}

    share: float = 0.2
    """Of a text's tokens."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"share of mink is {self.share}; give more than 0 and at most 1")

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        model = released_model(view.held["tuned"], public)
        nats = [finite(model.token_nats([row])[0]) for row in model.rows(challenged_examples(public))]
        return membership(public, torch.tensor([-hardest(own, self.share) for own in nats]))


def hardest(nats: torch.Tensor, share: float) -> float:
    """The mean of the largest share of (P,)."""
    count = max(1, ceil(share * len(nats)))
    return float(nats.topk(min(count, len(nats))).values.mean()) if len(nats) else 0.0
