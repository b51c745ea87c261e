"""Labels behind a secret order of the entries and a secret scale, both for each sample anew if need be.

Neither changes the ratios of the sorted entries: they are compared with every candidate's by the cosine. All entries
are used, where `norm` has one number.

Threat model: a server that knows the backbone's final norm and the head, and receives the pivot's last state. At least
three classes: with two, a probability difference is (x, -x) whatever the label.
Source: own derivation.

Shapes: N samples, R rows of the candidates' book, W values of a difference or a candidate, whichever has more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize, pad

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import SHARE, differences
from ..evidence.labels.candidates import Candidates, candidates_of

BLOCK = 4_000_000
"""Values of candidates that are sorted at a time: bounds the memory."""


@dataclass(frozen=True)
class Ratio(Attack):
    """Sorted entries, by direction."""

    name = "ratio"
    source = "own derivation"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone", "head"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = SHARE

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The nearest label of every sample that sent both kinds."""
        rows = differences(view, public)
        if not rows.ids:
            return LabelGuess((), torch.zeros(0, dtype=torch.int64))
        candidates = candidates_of(public, rows.pivots)
        nearest = distances(rows.values.double(), candidates).argmin(1)
        return LabelGuess(rows.ids, candidates.owners[nearest])


def distances(received: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Squared distances (N, R) between directions of sorted entries; columns that nobody explains count as zero."""
    width = max(received.shape[1], candidates.book.shape[1])
    ordered = normalize(_sorted(received, width), dim=1).unsqueeze(1)
    step = max(1, BLOCK // (len(candidates.book) * width))
    parts = []
    for i in range(0, len(received), step):
        expected = candidates.height * candidates.book - candidates.shares[i : i + step].unsqueeze(1)
        directions = normalize(_sorted(expected, width), dim=2)
        parts.append((directions - ordered[i : i + step]).square().sum(2))
    return torch.cat(parts)


def _sorted(values: torch.Tensor, width: int) -> torch.Tensor:
    return pad(values, (0, width - values.shape[-1])).sort(-1).values
