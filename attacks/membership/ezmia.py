"""Members by where the tuned language model errs: what it was trained on rises even where it is not the likeliest.

At the tokens that the tuned model does not put first, the logarithms of their probabilities are compared with the
untuned backbone's: the score is the ratio of all rises to all falls. Two passes a text, and no shadow.

Threat model: whoever holds the released side network and knows the backbone; no message is needed. Where the words of a
class follow each text, those of the challenge's examples do so here.
An adapter of a language model that was tuned elsewhere is asked in the same way.
Source: EZ-MIA, Ilic et al. 2026, arXiv 2601.12104: the error zone score, of logarithms of probabilities.

Shapes: C challenges, P positions of one, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.language import chances, loss_positions, tuned_chances
from ...system.public import Challenge, Public
from ...system.released import FUSIONS, LANGUAGE
from ...system.side_network import SideNetwork, from_state
from ...system.view import View, finite
from ..attack import Attack, Goal, MembershipScores, Needs, Prepared
from ..evidence.adapted import both_chances, challenged_examples, released_model
from ..evidence.members.challenged import example_tokens
from ..evidence.members.shadowed import membership

LEAST = 1e-12
"""Of a probability."""
NONE = 1e-6
"""Added to rises and falls: a text may have none."""


@dataclass(frozen=True)
class EZMIA(Attack):
    """The logarithm of the ratio of rises to falls at errors."""

    name = "ezmia"
    source = "arXiv 2601.12104"
    goal = Goal.MEMBERS
    needs = Needs(view=frozenset({"held:tuned"}), public=frozenset({"backbone", "challenge"}))
    attacked = frozenset({"held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"fusion": ("next token", FUSIONS[LANGUAGE])}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        assert public.backbone is not None
        if public.facts["fusion"] == FUSIONS[LANGUAGE]:
            model = released_model(view.held["tuned"], public)
            asked = (both_chances(model, row) for row in model.rows(challenged_examples(public)))
            return membership(public, torch.tensor([error_zone(*one) for one in asked]))
        backbone, side = load_backbone(public.backbone), from_state(view.held["tuned"])
        return membership(public, torch.tensor([_score(backbone, side, one, public) for one in public.challenge]))


def _score(backbone: Backbone, side: SideNetwork, one: Challenge, public: Public) -> float:
    loss = loss_positions(backbone, backbone.pad([example_tokens(one, public, backbone)]))
    tuned = finite(tuned_chances(backbone, side, loss.states))
    return error_zone(tuned, chances(backbone, loss.states), loss.targets)


def error_zone(tuned: torch.Tensor, own: torch.Tensor, said: torch.Tensor) -> float:
    """The score of one text from next-token probabilities (P, V), tuned and untuned, and the tokens (P,) that came."""
    targets = said.unsqueeze(1)
    moved = (tuned.gather(1, targets).clamp_min(LEAST) / own.gather(1, targets).clamp_min(LEAST)).log().squeeze(1)
    errors = moved[tuned.argmax(1) != said]
    rises, falls = errors.clamp(min=0).sum() + NONE, -errors.clamp(max=0).sum() + NONE
    return float((rises / falls).log())
