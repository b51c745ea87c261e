"""Labels by the length of the difference, which no secret rotation or permutation changes.

|c e_y - f|^2 = c^2 - 2 c f_y + |f|^2: the server computes the backbone's share f from the pivot and takes the class
whose candidate is as long as what came, even where every sample has a transform of its own. A gain that all samples
share, the height c of a logit target and an unknown constant part (noise, decoy columns) are fitted, see
evidence/labels/lengths.py.

Threat model: a server that knows the backbone's final norm and the head, and receives the pivot's last state. What it
cannot tell apart: classes with equal f, or closer than the precision of what came. Behind a scale for each sample it
knows only which scales are usual.
Source: own derivation; the length of a gradient gives labels in Li et al. 2022 (arXiv 2102.08504).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import SHARE, differences
from ..evidence.labels.candidates import Candidates, candidates_of
from ..evidence.labels.lengths import by_length


@dataclass(frozen=True)
class Norm(Attack):
    """One number of each difference suffices."""

    name = "norm"
    source = "own derivation; cf. arXiv 2102.08504"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone", "head"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = SHARE

    error: float = 0.0
    """Standard deviation of a log-normal factor on each of the attacker's recomputed outputs: how exact it must be."""
    trust_height: bool = False
    """Whether a logit difference's public scale is taken for true, where all else is fitted."""

    def __post_init__(self) -> None:
        if not self.error >= 0:
            raise UsageError(f"the error of norm is {self.error}; give 0 or more")

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The likeliest label of every sample that sent both kinds."""
        rows = differences(view, public)
        if not rows.ids:
            return LabelGuess((), torch.zeros(0, dtype=torch.int64))
        candidates = disturbed(candidates_of(public, rows.pivots), self.error, generator)
        free_height = public.facts["difference"] == "logit" and not self.trust_height
        found = by_length(rows.values, candidates, generator, free_height)
        return LabelGuess(rows.ids, candidates.labels(found.weights))


def disturbed(candidates: Candidates, error: float, generator: torch.Generator) -> Candidates:
    """The candidates of an attacker whose outputs are off by a log-normal factor."""
    if not error:
        return candidates
    factors = (error * torch.randn(candidates.shares.shape, generator=generator, dtype=torch.float64)).exp()
    return replace(candidates, shares=candidates.shares * factors)
