"""Members, and whose they are, by what devices send to be averaged: which device knows an example, and since when?

Averages carry what any device learnt to all, so that an example is known everywhere in the end, but nowhere in what
all began from: by how much the odds of its label rose is the score. What a device sends after its own steps fits its
own rows best: the device under which the label is likeliest is taken for the owner.

Threat model: an honest-but-curious federation server that knows the backbone, and a challenge of labelled texts. Where
devices tune a part below a cut, it puts a head of its own upon it (evidence/rebuilt.py).
Source: own derivation; a reference for how hard an example is: Watson et al. 2022, arXiv 2111.08440.

Shapes: D devices, C challenges, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...system.backbone import load_backbone
from ...system.forward import over_texts
from ...system.message import Party
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, MembershipScores, Needs, Prepared
from ..evidence.members.shadowed import membership
from ..evidence.rebuilt import averaged
from ..evidence.updates.sent import State, own_part, updates


@dataclass(frozen=True)
class Shared(Attack):
    """The largest gain of a device over the start, and that device."""

    name = "shared"
    source = "own derivation; arXiv 2111.08440"
    goal = Goal.MEMBERS
    needs = Needs(view=frozenset({"update", "held:start"}), public=frozenset({"backbone", "challenge"}))
    attacked = frozenset({"update", "held:start"})

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge, and its device."""
        sent = {update.device: update for update in updates(view)}
        if not sent:
            return membership(public, torch.zeros(len(public.challenge)))
        found = torch.stack([odds(public, update.after) for update in sent.values()])
        start = odds(public, own_part(view.held["start"], next(iter(sent.values())).after))
        devices: list[Party] = list(sent)
        best, owner = found.max(0)
        return membership(public, best - start, [devices[at] for at in owner.tolist()])


def odds(public: Public, state: State) -> torch.Tensor:
    """The logarithm (C,) of the odds that a device's state gives each example's label (arXiv 2112.03570, IV.C)."""
    assert public.backbone is not None
    model = averaged(load_backbone(public.backbone), public, state, None)
    scores = over_texts(model, [one.text for one in public.challenge])
    labels = torch.tensor([public.labels.index(one.label) for one in public.challenge]).unsqueeze(1)
    others = scores.scatter(1, labels, -torch.inf).logsumexp(1)
    return scores.gather(1, labels).squeeze(1) - others
