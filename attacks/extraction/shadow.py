"""The tuned model of split learning with a bottom that the device trains: the bottom's shadow below the held top.

The device's bottom starts as the public one and never crosses. But what it makes of texts does, in every pass: `match`
recovers texts from the first pass, while the bottom is still near the public one, and a copy of the public bottom is
moved until those texts have the states of the last pass (evidence/positions/followed_bottoms.py). The held top is then
put upon it. Labels and the gradients that the server returned, from which the device's training could be replayed, need
not be looked at: a replay would need the secret factors that the device's updates started from, and where it ends the
last states say. Texts that were recovered wrongly are outliers in the fit.

Threat model: a server that knows the public backbone, the prompt and the training recipe, has auxiliary texts, receives
states and lengths in every pass, and holds the top.
Source: own derivation; matching: SipIt (arXiv 2510.15511); shadow bottoms cf. PCAT (Gao and Zhang, USENIX Security
2023), which learns one from auxiliary labels.

Shapes: Q queries, T positions, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.errors import UsageError
from ...system.partial import stored_top
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.positions.followed_bottoms import Sighting, followed
from ..evidence.positions.found_texts import STUDIES, found_texts, ranking
from ..evidence.positions.shadow_bottoms import recipe_of
from ..evidence.rebuilt import answers, upon_bottom
from ..evidence.states import LARGEST
from ..workbench import Workbench


@dataclass(frozen=True)
class Shadow(Attack):
    """Recover texts, follow the bottom, put the top upon it."""

    name = "shadow"
    source = "own derivation; arXiv 2510.15511"
    goal = Goal.MODEL
    needs = Needs(view=frozenset({"activations", "held:tuned"}), public=frozenset({"auxiliary", "backbone", "queries"}))
    attacked = frozenset({"activations", "held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **CAUSAL_ONLY,
        "positions": ("all",),
        "bottom": ("trainable",),
        "fusion": ("split",),
    }
    studies = STUDIES

    texts: int = 400
    """Texts that are recovered at most: those that cross last."""
    candidates: int = 16
    """Tokens tried at first at a doubtful place."""
    widest: int = 64
    """Tokens tried at most."""

    def __post_init__(self) -> None:
        for name in ("texts", "candidates", "widest"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; give at least 1")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """What ranks candidates, and how far passes deviate."""
        return ranking(public)

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the rebuilt model on the queries."""
        assert public.backbone is not None
        backbone, facts = load_backbone(public.backbone), public.facts
        sightings = self._sightings(view, public, prepared)
        bottom = followed(backbone, recipe_of(facts), sightings, facts["prompt"], generator) if sightings else None
        top = stored_top(backbone, facts["cut"], facts["selector"], view.held["tuned"])
        with torch.no_grad():
            return answers(upon_bottom(backbone, public, top, bottom), public)

    def _sightings(self, view: View, public: Public, prepared: Prepared) -> list[Sighting]:
        """Texts as the first pass gives them, with their states of the last, in its order."""
        rounds = [message.round for message in view.of("activations")]
        if not rounds:
            return []
        last = {one.sample_id: one.activations[:, 0] for one in view.sequences(max(rounds))}
        asked = set(list(last)[-self.texts :])
        first = [one for one in view.sequences(min(rounds)) if one.sample_id in asked]
        rows = found_texts(first, public, prepared, self.candidates, self.widest)
        tokens = {one.sample_id: row.tokens for one, row in zip(first, rows, strict=True)}
        return [Sighting(tokens[i], last[i].clamp(-LARGEST, LARGEST)) for i in last if i in tokens]
