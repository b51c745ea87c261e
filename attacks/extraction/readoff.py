"""The tuned model from the weights that the server trained, put on its own copy of the public backbone.

Threat model: an honest-but-curious server that knows the backbone, the head's kind and the fusion rule: it already
holds every tuned parameter, except those of a device's trainable bottom, which it replaces by the public ones.
Source: own derivation; version 2 of arXiv 2507.01216 drops the claim that version 1 makes about fine-tuned models.

Shapes: Q queries, L layers, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.fusion import pack_positions, pivot_activations, positionwise
from ...system.heads import scores
from ...system.partial import Bottom, stored_top
from ...system.public import Public
from ...system.side_network import from_state
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.differences import class_scores, undone

CHUNK = 64


@dataclass(frozen=True)
class ReadOff(Attack):
    """Backbone plus held weights."""

    name = "readoff"
    source = "own derivation"
    goal = Goal.MODEL
    needs = Needs(view=frozenset({"held:tuned"}), public=frozenset({"backbone", "queries"}))
    attacked = frozenset({"held:tuned"})

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the rebuilt model on the queries."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        rebuild = {"additive": _additive, "side": _side, "split": _split}[public.facts["fusion"]]
        outputs = []
        for start in range(0, len(public.queries), CHUNK):
            texts = [query.text for query in public.queries[start : start + CHUNK]]
            outputs.append(rebuild(backbone, texts, public, view.held["tuned"]))
        return StolenModel(tuple(query.id for query in public.queries), torch.cat(outputs))


Tuned = Mapping[str, torch.Tensor]


def _additive(backbone: Backbone, texts: list[str], public: Public, tuned: Tuned) -> torch.Tensor:
    """PAE MobiLLM: the backbone's share plus the side network's output. Without the head only the latter is known."""
    facts = public.facts
    pivots = pivot_activations(backbone, texts, facts["longest"], facts["prompt"], facts["selector"])
    shares = None if public.head is None else scores(public.head["weight"], backbone, pivots[:, -1])
    return class_scores(public, undone(from_state(tuned)(pivots), public), shares)


def _side(backbone: Backbone, texts: list[str], public: Public, tuned: Tuned) -> torch.Tensor:
    """MobiLLM: the side network at every position."""
    tokens = backbone.tokens(texts, public.facts["longest"], public.facts["prompt"])
    states, lengths = pack_positions(backbone.activations(tokens), tokens)
    return positionwise(from_state(tuned), states, lengths, public.facts["selector"])


def _split(backbone: Backbone, texts: list[str], public: Public, tuned: Tuned) -> torch.Tensor:
    """Split learning: the public bottom below the tuned top."""
    facts: Mapping[str, Any] = public.facts
    tokens = backbone.tokens(texts, facts["longest"], facts["prompt"])
    states = Bottom(backbone, facts["cut"], 0, torch.Generator())(tokens)
    outputs: torch.Tensor = stored_top(backbone, facts["cut"], facts["selector"], tuned)(states, tokens.mask)
    return outputs
