"""Labels from a few known labels a class, together with all that crossed.

The mixture of `regress`, started from the known rows as well, gives groups and what is left of a difference without its
backbone share. Linear discriminants of that, of the difference as it came, of the side network's outputs, of the pivots
and of all together are fitted on the known rows, with and without training on their own guesses (self-training). The
learner that predicts withheld known rows best is taken; with one row a class there are none to withhold, and groups
that lie apart are trusted, or else the outputs, which average over samples.
Threat model: a server that receives differences and pivots, holds the side network, and knows the labels of 1, 5 or 20
rows of each class, by their ids.
Source: own derivation; self-training: Scudder 1965; label inference by model completion: Fu et al., USENIX Security
2022.

Shapes: N samples, L layers, d width, K classes, D values, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import JOINED, differences
from ..evidence.labels.completing import completed


@dataclass(frozen=True)
class FewShot(Attack):
    """Semi-supervised learning on everything received."""

    name = "fewshot"
    source = "own derivation; model completion: Fu et al., USENIX Security 2022"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations", "held:tuned"}), public=frozenset({"known"}))
    attacked = frozenset({"difference", "held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = JOINED

    rounds: int = 3
    """Rounds of self-training, where it is used."""

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A label (N,) for each sample that sent both kinds, the known ones' as known."""
        found = differences(view, public)
        if not found.ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        return LabelGuess(found.ids, completed(view, public, found, generator, self.rounds))
