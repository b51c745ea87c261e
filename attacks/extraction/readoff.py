"""The tuned model from the weights that the server trained, put on its own copy of the public backbone.

Threat model: an honest-but-curious server that knows the backbone, the head's kind and the fusion rule: it already
holds every tuned parameter, except those of a device's trainable bottom, which it replaces by the public ones unless
devices send them to it to be averaged (memory-efficient SFL), and a head that stays on the device, in whose place it
trains one of its own on auxiliary labels.
Source: own derivation; version 2 of arXiv 2507.01216 drops the claim that version 1 makes about fine-tuned models.

Shapes: Q queries, L layers, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.adapters import above, below, blocks_of
from ...system.backbone import Backbone, load_backbone
from ...system.fusion import pack_positions, positionwise
from ...system.language import class_likelihoods
from ...system.low_rank import trimmed
from ...system.partial import stored_bottom, stored_middle, stored_top
from ...system.public import Public
from ...system.side_network import from_state
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.adapted import ADAPTED, class_answers, released_model
from ..evidence.differences import class_scores, undone
from ..evidence.rebuilt import Model, answers, on_pivots, own_head, upon_bottom
from ..evidence.states import PLAIN, PROJECTED


@dataclass(frozen=True)
class ReadOff(Attack):
    """Backbone plus held weights."""

    name = "readoff"
    source = "own derivation"
    goal = Goal.MODEL
    needs = Needs(view=frozenset({"held:tuned"}), public=frozenset({"backbone", "queries"}))
    attacked = frozenset({"held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"activations": (PLAIN, PROJECTED)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the rebuilt model on the queries."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        model = BUILT[public.facts["fusion"]](backbone, public, view.held["tuned"])
        return answers(model, public)


Tuned = Mapping[str, torch.Tensor]


def _additive(backbone: Backbone, public: Public, tuned: Tuned) -> Model:
    """PAE MobiLLM: the backbone's share plus the side network's output. Without the head only the latter is known."""
    asked = on_pivots(backbone, public, tuned)

    def model(texts: list[str]) -> torch.Tensor:
        found = asked(texts)
        return class_scores(public, undone(found.outputs, public), found.backbone_scores(backbone, public))

    return model


def _side(backbone: Backbone, public: Public, tuned: Tuned) -> Model:
    """MobiLLM: the side network at every position; Fed MobiLLM with labels: on the pivot alone."""
    if public.facts["positions"] != "all":
        asked = on_pivots(backbone, public, tuned)
        return lambda texts: asked(texts).outputs
    side = from_state(tuned)

    def model(texts: list[str]) -> torch.Tensor:
        tokens = backbone.tokens(texts, public.facts["longest"], public.facts["prompt"])
        states, lengths = pack_positions(backbone.activations(tokens), tokens)
        return positionwise(side, states, lengths, public.facts["selector"])

    return model


def _split(backbone: Backbone, public: Public, tuned: Tuned) -> Model:
    """Split learning: the tuned top upon the public bottom, or upon the tuned one where the server holds that, too."""
    cut, bottom = public.facts["cut"], None
    if blocks_of(tuned) == len(backbone.blocks):
        tuned = trimmed(tuned, public.facts["rank"])
        bottom, tuned = stored_bottom(backbone, cut, below(tuned, cut)), above(tuned, cut)
    return upon_bottom(backbone, public, stored_top(backbone, cut, public.facts["selector"], tuned), bottom)


def _next_token(backbone: Backbone, public: Public, tuned: Tuned) -> Model:
    """Language modelling: the backbone's probabilities plus the side network's, of each class's words."""
    side, facts = from_state(tuned), public.facts
    return lambda texts: class_likelihoods(backbone, side, texts, facts["longest"], facts["question"], public.labels)


def _ushape(backbone: Backbone, public: Public, tuned: Tuned) -> Model:
    """U-shaped split learning: the public bottom below the tuned middle, and a head of the attacker's own."""
    middle = stored_middle(backbone, public.facts["cut"], public.facts["selector"], tuned)
    return own_head(upon_bottom(backbone, public, middle), backbone, public)


def _adapted(backbone: Backbone, public: Public, tuned: Tuned) -> Model:
    """An adapter that was tuned elsewhere: it is the model, but for the backbone."""
    return lambda texts: class_answers(released_model(tuned, public, backbone), public, texts)


BUILT: Mapping[str, Callable[[Backbone, Public, Tuned], Model]] = {
    **dict.fromkeys(ADAPTED, _adapted),
    "additive": _additive,
    "next token": _next_token,
    "side": _side,
    "split": _split,
    "ushape": _ushape,
}
"""By the fact `fusion`."""
