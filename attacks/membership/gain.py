"""Members by how much likelier a language model's adapter makes a text than the backbone alone does.

The backbone says how hard a text is for anybody; no shadow is trained.

Threat model: whoever holds a released adapter and knows its backbone.
Source: comparison with another language model, Carlini et al. 2021, arXiv 2012.07805, section 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.released import FUSIONS, LANGUAGE
from ...system.view import View, finite
from ..attack import Attack, Goal, MembershipScores, Needs, Prepared
from ..evidence.adapted import challenged_examples, released_model
from ..evidence.members.shadowed import membership


@dataclass(frozen=True)
class Gain(Attack):
    """The untuned cross-entropy of a token, less the tuned one."""

    name = "gain"
    source = "arXiv 2012.07805, section 5.1"
    goal = Goal.MEMBERS
    needs = Needs(view=frozenset({"held:tuned"}), public=frozenset({"backbone", "challenge"}))
    attacked = frozenset({"held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"fusion": (FUSIONS[LANGUAGE],)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        model, examples = released_model(view.held["tuned"], public), challenged_examples(public)
        tuned = finite(model.errors(examples))
        with model.model.disable_adapter():
            return membership(public, model.errors(examples) - tuned)
