"""What an attack that learns from shadow side networks prepares: one preparation for all of them.

Threat model: the adversary holds the released side network, and knows the backbone, the head, the public settings of
the training, and a challenge of labelled texts. It needs no message.

Shapes: S shadows, C challenges, D values of a difference.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ....system.public import Public
from ....system.side_network import from_state
from ....system.view import View
from ...attack import Attack, Goal, MembershipScores, Needs, Prepared, Studied
from ...workbench import Workbench
from ..states import FACTS, PLAIN, PROJECTED
from .challenged import Challenged, challenged
from .shadows import Shadows, recipe_of, shadows_of

RELEASED = Needs(view=frozenset({"held:tuned"}), public=frozenset({"backbone", "challenge", "head"}))
ADDITIVE: Mapping[str, tuple[str, ...]] = {"fusion": ("additive",), "activations": (PLAIN, PROJECTED)}
"""A side network on pivots that regresses a difference, behind no secret map of the activations."""
LEAST = 1e-8
"""A squared error below which rounding is all there is."""


@dataclass(frozen=True)
class Shadowed(Attack):
    """Judges the released side network's error on every example by those of shadows with and without it."""

    goal = Goal.MEMBERS
    needs = RELEASED
    attacked = frozenset({"held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = ADDITIVE
    studies = Studied(
        frozenset({"backbone", "challenge", "head", "keys"}),
        FACTS | {"depth", "difference", "scale", "side", "weight_bits"},
        frozenset({"shadows"}),
    )

    shadows: int = 64
    """Shadow side networks, each trained on a half of the challenge."""

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`inside` and `errors` of Shadows."""
        own = challenged(public)
        recipe = recipe_of(public.facts)
        return shadows_of(own.taps, own.targets, recipe, self.shadows, generator, bench)._asdict()

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        found = released_errors(view, public, challenged(public))
        shadows = Shadows(prepared["inside"], prepared["errors"].clamp(min=LEAST).log())
        return membership(public, self.judged(found.clamp(min=LEAST).log(), shadows))

    @abstractmethod
    def judged(self, error: torch.Tensor, shadows: Shadows) -> torch.Tensor:
        """Scores (C,) from the logarithms of the released network's squared errors (C,) and of the shadows'."""


@torch.no_grad()
def released_errors(view: View, public: Public, own: Challenged) -> torch.Tensor:
    """(C,) squared distance of the released side network's output from each example's difference."""
    outputs: torch.Tensor = from_state(view.held["tuned"])(own.taps)
    both = min(outputs.shape[1], own.targets.shape[1])  # decoy classes have outputs of their own
    return (outputs[:, :both] - own.targets[:, :both]).square().sum(1)


def membership(public: Public, scores: torch.Tensor, owners: Sequence[str] = ()) -> MembershipScores:
    """A guess by its scores (C,), in the challenge's order; what is no finite number says nothing."""
    finite = scores.float().nan_to_num(0.0, 1e30, -1e30)
    return MembershipScores(tuple(one.id for one in public.challenge), finite, tuple(owners))
