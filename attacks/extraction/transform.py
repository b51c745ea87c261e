"""The tuned model of a keyed side network whose outputs stand behind one secret transform, which is recovered first.

The server holds a side network that it trained on differences x M' for a secret M. The public head says what the
backbone takes away, so that lengths, angles, or a few known labels name the labels, and labels give M by Procrustes or
by assignment, as `align` and `gram` find it. The outputs of the side network are then turned back and added to the
backbone's share, as the device does.

Threat model: a server that knows the backbone, the head and the kinds of defences, receives the pivot's last state and
the difference, and holds the side network; known labels help where there are any.
Source: own derivation; Procrustes: Schonemann 1966; static obfuscation is known to fail, arXiv 2603.05035.

Shapes: N samples, Q queries, D values of a candidate, E values as they came, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.differences import SHARE, Differences, class_scores, differences, undone
from ..evidence.labels.alignment import Alignment, explained
from ..evidence.labels.angles import Beam, by_angles
from ..evidence.labels.candidates import Candidates, candidates_of
from ..evidence.labels.codewords import defence_settings, known_labels
from ..evidence.labels.lengths import by_length
from ..evidence.rebuilt import asked_pivots, stolen

TINY = 1e-30


@dataclass(frozen=True)
class Transform(Attack):
    """Recover the transform, undo it, read off."""

    name = "transform"
    source = "own derivation; cf. arXiv 2603.05035"
    goal = Goal.MODEL
    needs = Needs(
        view=frozenset({"difference", "activations", "held:tuned"}), public=frozenset({"backbone", "head", "queries"})
    )
    attacked = frozenset({"difference", "held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {**SHARE, "fusion": ("additive",)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the rebuilt model on the queries."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        found, asked = differences(view, public), asked_pivots(backbone, public, view.held["tuned"])
        outputs = undone(asked.outputs, public).double()
        if found.ids:
            outputs = turned_back(outputs, found, public, generator)
        return stolen(public, class_scores(public, outputs.float(), asked.backbone_scores(backbone, public)))


def turned_back(outputs: torch.Tensor, found: Differences, public: Public, generator: torch.Generator) -> torch.Tensor:
    """Outputs (Q, D) as they would be without the transform, of outputs (Q, E)."""
    received, candidates = found.values.double(), candidates_of(public, found.pivots)
    aligned = alignment(received, candidates, found.ids, public, generator)
    return outputs @ aligned.transform.T / gain(received, aligned, public)


def gain(received: torch.Tensor, aligned: Alignment, public: Public) -> float:
    """The factor that all differences (N, E) share; factors of the samples' own have a mean of one."""
    if defence_settings(public, "scale").get("per_sample", False):
        return 1.0
    expected = aligned.candidates.turned(aligned.transform).expected(aligned.weights)
    found = float((received * expected).sum() / expected.square().sum().clamp(min=TINY))
    return found if abs(found) > TINY else 1.0


def alignment(
    received: torch.Tensor, candidates: Candidates, ids: tuple[str, ...], public: Public, generator: torch.Generator
) -> Alignment:
    """The transform behind differences (N, E), by what the public settings call for."""
    if defence_settings(public, "scale").get("per_sample", False):
        return by_angles(received, candidates, Beam(), generator)
    free_height = public.facts["difference"] == "logit"
    starts = [by_length(received, candidates, generator, free_height).weights]
    known = known_labels(public, ids)
    if (known >= 0).any():
        starts.append(_weights(known, candidates))
    return explained(received, candidates, starts, free_height)


def _weights(known: torch.Tensor, candidates: Candidates) -> torch.Tensor:
    """Probabilities (N, R) of the candidates where labels (N,) are known, and all alike where they are -1."""
    own = (candidates.owners == known.unsqueeze(1)).double()
    rows = len(candidates.owners)
    return torch.where((known >= 0).unsqueeze(1), own / own.sum(1, keepdim=True).clamp(min=1), 1 / rows)
