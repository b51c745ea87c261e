"""Labels behind one secret rotation and a secret scale for each sample, from the angles between samples.

Neither changes the angle of two samples, and the server knows the angle that every pair of labels would give. A beam
search names a few reference samples one after the other; the others are then named by their angles to the references.
From there on the rotation is estimated by Procrustes and the labels are decoded with it in turn, until they stay. Of
several draws of references the one that explains the directions best is kept; among equals, the one after which the
secret scales vary least, since a wrong name shows as a scale that follows the backbone's output.

Threat model: a server that knows the backbone's final norm and the head, and receives the pivot's last state.
Source: own derivation.

Shapes: N samples, R rows of the candidates' book, E values as they came.
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
from ..evidence.labels.angles import Beam, by_angles
from ..evidence.labels.candidates import candidates_of


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
        candidates, beam = candidates_of(public, rows.pivots), Beam(self.references, self.beams, self.starts)
        found = by_angles(rows.values.double(), candidates, beam, generator)
        return LabelGuess(rows.ids, candidates.labels(found.weights))
