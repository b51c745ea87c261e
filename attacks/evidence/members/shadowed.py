"""What an attack that learns from shadow side networks prepares: one preparation for all of them.

Threat model: the adversary holds the released side network, and knows the backbone, the head, the public settings of
the training, and a challenge of labelled texts. It needs no message.

Shapes: S shadows, C challenges, D values of a difference.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from ....system.errors import UsageError
from ....system.public import Public
from ....system.side_network import from_state
from ....system.view import View, finite
from ...attack import Attack, Goal, MembershipScores, Needs, Prepared, Studied
from ...workbench import Workbench
from ..adapted import ADAPTED, challenged_examples, released_model
from ..differences import undone
from ..states import PLAIN, PROJECTED
from .adapted_shadows import adapted_shadows
from .challenged import STUDIED, challenged
from .shadows import Shadows, recipe_of, shadows_of

RELEASED = Needs(view=frozenset({"held:tuned"}), public=frozenset({"backbone", "challenge", "head"}))
ADDITIVE: Mapping[str, tuple[str, ...]] = {
    "fusion": ("additive", *ADAPTED),
    "activations": (PLAIN, PROJECTED),
    "difference_key": ("none", "known"),
}
"""A side network on pivots that regresses a difference, behind no secret map or code of either; or an adapter."""
FEWEST = 8
"""Shadows: with fewer, many an example would lie inside of none, or of all."""
LARGEST = 1e30
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
        STUDIED | {"side", "fusion", "adapter_config", "classes", "form", "recipe"},
        frozenset({"shadows"}),
    )

    shares_preparation = True

    shadows: int = 64
    """Shadow side networks, each trained on a half of the challenge."""

    def __post_init__(self) -> None:
        if self.shadows < FEWEST:
            raise UsageError(f"shadows of {self.name} is {self.shadows}; give at least {FEWEST}")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`inside` and `errors` of Shadows."""
        if public.facts["fusion"] in ADAPTED:
            return told(adapted_shadows(public, self.shadows, generator, bench))
        own = challenged(public)
        recipe = recipe_of(public.facts)
        sent = partial(own.crossed, public)
        return told(shadows_of((own.taps, own.targets), sent, recipe, self.shadows, generator, bench))

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        found, nats = released_errors(view, public), public.facts["fusion"] in ADAPTED
        shadows = Shadows(prepared["inside"], prepared["errors"].clamp(min=LEAST).log(), nats)
        return membership(public, self.judged(found.clamp(min=LEAST).log(), shadows))

    @abstractmethod
    def judged(self, error: torch.Tensor, shadows: Shadows) -> torch.Tensor:
        """Scores (C,) from the logarithms of the released network's squared errors (C,) and of the shadows'.

        Of an adapter that was tuned elsewhere they are cross-entropies, in nats.
        """


def told(shadows: Shadows) -> Prepared:
    """As it is kept."""
    return {"inside": shadows.inside, "errors": shadows.errors}


@torch.no_grad()
def released_errors(view: View, public: Public) -> torch.Tensor:
    """(C,) squared distance of the released side network's output from each example's difference.

    Of an adapter, the cross-entropy of each example.
    """
    if public.facts["fusion"] in ADAPTED:
        return finite(released_model(view.held["tuned"], public).errors(challenged_examples(public)))
    own = challenged(public)
    outputs = undone(finite(from_state(view.held["tuned"])(own.taps)), public)
    both = min(outputs.shape[1], own.targets.shape[1])  # decoy classes have outputs of their own
    return (outputs[:, :both] - own.targets[:, :both]).square().sum(1)


def membership(public: Public, scores: torch.Tensor, owners: Sequence[str] = ()) -> MembershipScores:
    """A guess by its scores (C,), in the challenge's order; what is no number stands below all."""
    said = scores.float().nan_to_num(-LARGEST, LARGEST, -LARGEST)
    return MembershipScores(tuple(one.id for one in public.challenge), said, tuple(owners))
