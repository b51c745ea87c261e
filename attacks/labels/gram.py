"""Labels behind one secret rotation and a secret scale for each sample, from the angles between samples.

Neither changes the angle of two samples, and the server knows the angle that every pair of labels would give. A beam
search names a few reference samples one after the other; the others are then named by their angles to the references.
From there on the rotation is estimated by Procrustes and the labels are decoded with it in turn, until they stay. Of
several draws of references the one that explains the directions best is kept; among equals, the one after which the
secret scales vary least, since a wrong name shows as a scale that follows the backbone's output.

Threat model: a server that knows the backbone's final norm and the head, and receives the pivot's last state.
Source: own derivation.

Shapes: N samples, R rows of the candidates' book, D values, r references, B beams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch.nn.functional import normalize, one_hot

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import SHARE, differences
from ..evidence.labels.alignment import Alignment, aimed, decoded, rotation
from ..evidence.labels.candidates import Candidates, candidates_of

TINY = 1e-30
ANSWERS = 2
"""Ends of a beam search that are tried: more than one where names may be exchanged."""


@dataclass(frozen=True)
class Gram(Attack):
    """Angles give the partition and the names."""

    name = "gram"
    source = "own derivation"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone", "head"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = SHARE

    references: int = 16
    """Samples that the beam search names."""
    beams: int = 1024
    starts: int = 3
    """Draws of references."""

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The label of every sample that sent both kinds."""
        rows = differences(view, public)
        if not rows.ids:
            return LabelGuess((), torch.zeros(0, dtype=torch.int64))
        candidates, received = candidates_of(public, rows.pivots), rows.values.double()
        return LabelGuess(rows.ids, candidates.labels(self.weights(received, candidates, generator)))

    def weights(self, received: torch.Tensor, candidates: Candidates, generator: torch.Generator) -> torch.Tensor:
        """Probabilities (N, R) of the candidates for differences (N, E)."""
        found = []
        for _ in range(self.starts):
            drawn = torch.randperm(len(received), generator=generator)[: self.references]
            for names in _searched(normalize(received[drawn], dim=1), candidates.of(drawn), self.beams)[:ANSWERS]:
                start = _by_angles(received, candidates, drawn, names)
                found.append(aimed(received, candidates, start, rotation))
        return min(found, key=lambda one: _cost(one, received, candidates)).weights


def _searched(directions: torch.Tensor, candidates: Candidates, beams: int) -> torch.Tensor:
    """Rows of the book for r references, best first (B, r), by squared errors of all pairs' cosines."""
    count, rows = len(directions), len(candidates.book)
    expected = normalize(candidates.height * candidates.book - candidates.shares.unsqueeze(1), dim=2)
    names = torch.zeros(1, 0, dtype=torch.int64)
    costs = torch.zeros(1, dtype=torch.float64)
    for new in range(count):
        grown = costs.unsqueeze(1).expand(-1, rows).clone()
        for old in range(new):
            cosines = expected[old] @ expected[new].T  # (rows of old, rows of new)
            grown += (cosines[names[:, old]] - directions[old] @ directions[new]).square()
        kept = grown.flatten().argsort(stable=True)[:beams]
        names = torch.cat([names[kept // rows], (kept % rows).unsqueeze(1)], 1)
        costs = grown.flatten()[kept]
    return names


def _by_angles(
    received: torch.Tensor, candidates: Candidates, drawn: torch.Tensor, names: torch.Tensor
) -> torch.Tensor:
    """Probabilities (N, R) of the candidates from the angles to references with known names (r,)."""
    measured = normalize(received, dim=1) @ normalize(received[drawn], dim=1).T
    known = normalize(candidates.of(drawn).expected(one_hot(names, len(candidates.book)).double()), dim=1)
    lengths = candidates.squares().clamp(min=TINY).sqrt()
    errors = torch.zeros_like(lengths)
    for i in range(len(drawn)):
        errors += (candidates.dots(known[i].expand(len(received), -1)) / lengths - measured[:, i : i + 1]).square()
    return decoded(errors, len(drawn))


def _cost(found: Alignment, received: torch.Tensor, candidates: Candidates) -> float:
    """The criterion of the directions and, as far as it is equal, of the logarithms of the scales."""
    lengths = (found.weights * candidates.squares()).sum(1).clamp(min=TINY)
    spread = (received.square().sum(1).clamp(min=TINY) / lengths).log().var(correction=0)
    return found.criterion + len(received) * log(max(float(spread), TINY))
