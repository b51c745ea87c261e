"""Labels that cross in clear: the baseline that needs no attack.

Threat model: any server of a protocol that computes the loss from raw labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared


@dataclass(frozen=True)
class Plaintext(Attack):
    """Reads the labels."""

    name = "plaintext"
    source = "no source needed: the message holds the label"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"labels"}))
    attacked = frozenset({"labels"})

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """(samples,) labels as received."""
        return LabelGuess(*view.rows("labels", "labels"))
