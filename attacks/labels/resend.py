"""Labels from samples that the device sent again because the server said that it had lost them.

Where each sending has noise of its own, n of them have as much noise together as one with a standard deviation smaller
by the root of n, and differences and activations are averaged before `posterior`'s rule is applied to them. A device
that keeps what it sent sends the same bytes again: then nothing is gained over `posterior` on one sending.
Threat model: a server that deviates from the protocol, knows the backbone, receives pivots, and knows the defences'
settings. The device cannot tell its claims from a crash.
Source: own derivation; that noise averages out under repetition: Dwork and Roth 2014, section 3.5 (composition).

Shapes: N samples, M texts, L layers, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared, Studied
from ..evidence.differences import differences
from ..evidence.labels.augmented import augmented
from ..evidence.labels.weighing import likeliest
from ..evidence.sightings import averaged
from ..evidence.states import FACTS, blurred, features, states_of, within
from ..workbench import Workbench


@dataclass(frozen=True)
class Resend(Attack):
    """The likeliest label, by the mean of all sightings."""

    name = "resend"
    source = "own derivation"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str | bool, ...]]] = {"resent": (True,)}
    studies: ClassVar[Studied | None] = Studied(frozenset({"backbone", "auxiliary", "keys"}), FACTS - {"spread"})

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """What texts and class names teach of activations, still without noise: only a view tells how much is left.

        `states` (M, L, d) with `labels` and `groups` (M,).
        """
        learnt = augmented(public.auxiliary, public.labels, generator)
        return {"states": states_of(learnt.texts, public), "labels": learnt.labels, "groups": learnt.groups}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The label (N,) of every sample that sent both kinds."""
        view, public = averaged(view, public)
        found = differences(view, public)
        if not found.ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        noisy = within(blurred(prepared["states"], public.facts.get("spread", 0.0), generator), public)
        learnt = {"rows": features(noisy), "labels": prepared["labels"], "groups": prepared["groups"]}
        return LabelGuess(found.ids, likeliest(found, public, learnt, generator))
