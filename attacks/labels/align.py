"""Labels behind one secret rotation or permutation, which is estimated from the labels that lengths give.

Lengths alone fail where rounding or noise hides them, but the probabilities that they give suffice to estimate a
transform that all samples share: a rotation by Procrustes, an order of the entries by assignment. Samples are decoded
with it and it is estimated anew until the labels stay. Another start knows nothing, since what the backbone takes away
points to the transform by itself. The family of transforms that explains the differences better, its free values paid
for, is kept. Decoy columns are columns that no candidate needs.

Threat model: as of `norm`, and a transform, a gain and a height that are the same for all samples.
Source: own derivation; static obfuscation is known to fail, arXiv 2603.05035. Procrustes: Schonemann 1966.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import SHARE, differences
from ..evidence.labels.alignment import explained
from ..evidence.labels.candidates import candidates_of
from ..evidence.labels.lengths import by_length


@dataclass(frozen=True)
class Align(Attack):
    """Repairs what lengths leave open."""

    name = "align"
    source = "own derivation; cf. arXiv 2603.05035"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone", "head"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = SHARE

    trust_height: bool = False
    """Whether a logit difference's public scale is taken for true."""

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The label of every sample that sent both kinds."""
        rows = differences(view, public)
        if not rows.ids:
            return LabelGuess((), torch.zeros(0, dtype=torch.int64))
        candidates, received = candidates_of(public, rows.pivots), rows.values.double()
        free_height = public.facts["difference"] == "logit" and not self.trust_height
        start = by_length(received, candidates, generator, free_height).weights
        return LabelGuess(rows.ids, candidates.labels(explained(received, candidates, [start], free_height).weights))
