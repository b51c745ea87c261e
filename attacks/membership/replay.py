"""Members by doing over what the device did: an example's own states, looked up among those that crossed.

Distances are in units of what rounding and a defence's noise add to a value: without either, only an example's own
states come near; with noise, this is the likeliest sample's likelihood.

Threat model: a server that knows the backbone and all that is public of a defence. On an undefended view with a public
backbone it finds every member at no false positive: the baseline, not a discovery.
Source: own derivation.

Shapes: N samples, C challenges, F features of all layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, MembershipScores, Needs, Prepared
from ..evidence.likeness import errors
from ..evidence.members.challenged import challenge_states
from ..evidence.members.shadowed import membership
from ..evidence.sightings import averaged
from ..evidence.states import PLAIN, PROJECTED, crossed_states, features


@dataclass(frozen=True)
class Replay(Attack):
    """The nearest sample's distance, and its sender."""

    name = "replay"
    source = "own derivation"
    goal = Goal.MEMBERS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone", "challenge"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"activations": (PLAIN, PROJECTED)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        view, public = averaged(view, public)
        states = challenge_states(public)
        scale = errors(states, public, generator)
        ids, received = crossed_states(view, public)
        if not ids:
            return membership(public, torch.zeros(len(states)))
        apart, nearest = torch.cdist(features(states) / scale, features(received) / scale).min(1)
        senders = {sample: message.sender for message in view.of("activations") for sample in message.sample_ids}
        return membership(public, -apart, [senders[ids[at]] for at in nearest.tolist()])
