"""Labels by Bayes' rule, from the difference and from what activations say of the class.

Noise or randomised response leaves a single difference undecided; whoever guesses a label weighs it with what else is
known. The class z that the device used gives the difference x_z, blurred by Gaussian noise whose variance is fitted;
randomised response, whose epsilon is public, made z of the label y; and how likely y was before the difference came,
activations say: by auxiliary texts and known labels, else by class names and priors. With the true likelihoods and
prior no guess is right more often.

Where the head, a transform, a factor or codewords are secret, the groups that `regress` finds stand for the candidates.
Noise may have left them nothing to find: then they agree with the activations no better than groups drawn by chance.
Threat model: a server that knows the backbone, receives pivots, and knows the defences' settings.
Source: Bayes' rule; the fit is expectation maximisation, Dempster, Laird and Rubin 1977.

Shapes: N samples, M texts, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared, Studied
from ..evidence.differences import JOINED, differences
from ..evidence.labels.augmented import augmented
from ..evidence.labels.weighing import likeliest
from ..evidence.states import FACTS, features, states_of
from ..workbench import Workbench


@dataclass(frozen=True)
class Posterior(Attack):
    """The likeliest label, all things considered."""

    name = "posterior"
    source = "Bayes' rule"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = JOINED
    studies: ClassVar[Studied | None] = Studied(frozenset({"backbone", "auxiliary", "keys"}), FACTS)

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """What texts and class names teach of activations: `rows` (M, F) with `labels` and `groups` (M,)."""
        learnt = augmented(public.auxiliary, public.labels, generator)
        rows = features(states_of(learnt.texts, public, generator))
        return {"rows": rows, "labels": learnt.labels, "groups": learnt.groups}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The label (N,) of every sample that sent both kinds."""
        found = differences(view, public)
        if not found.ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        return LabelGuess(found.ids, likeliest(found, public, prepared, generator))
