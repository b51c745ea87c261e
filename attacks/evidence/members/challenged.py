"""What an adversary computes of the challenge's examples: the states and the difference that each would have sent.

Where a control reveals keys, differences are those before any secret transform, and codewords their class's mean.

Shapes: C challenges, L layers that crossed, k width behind maps, K classes, D values of a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.functional import one_hot

from ....system.backbone import Backbone
from ....system.clipping import clipped
from ....system.codec import Precision, through
from ....system.forward import CHUNK, over_texts
from ....system.fusion import pivot_activations
from ....system.heads import scores
from ....system.language import loss_positions, trained_tokens
from ....system.public import Challenge, Public
from ..differences import share_of
from ..likeness import device_backbone, sent
from ..states import FACTS, WORDS, as_sent, blurred, standing

STUDIED = FACTS | {
    "depth", "difference", "difference_clip", "difference_spread", "labels_redrawn", "scale", "weight_bits", "weights",
}  # fmt: skip
"""Public facts on which all of this depends."""


@dataclass(frozen=True)
class Challenged:
    """Of every example, in the challenge's order, without a defence's noise."""

    labels: torch.Tensor
    """(C,) int64"""
    taps: torch.Tensor
    """(C, L, k) what a side network on pivots reads"""
    book: torch.Tensor
    """(K, D) the target of each class"""
    share: torch.Tensor
    """(C, D) what the backbone contributes to a prediction"""

    @property
    def targets(self) -> torch.Tensor:
        """(C, D) the difference of each example's own label."""
        return self.book[self.labels] - self.share

    def crossed(self, public: Public, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Taps and targets as a device would send them: labels redrawn, clipped, and with noise."""
        facts = public.facts
        redrawn = torch.rand(len(self.labels), generator=generator) < facts["labels_redrawn"]
        drawn = torch.randint(len(self.book), self.labels.shape, generator=generator)
        targets = self.book[torch.where(redrawn, drawn, self.labels)] - self.share
        if clip := facts["difference_clip"]:
            targets = clipped(targets, clip)
        targets = blurred(targets, facts["difference_spread"], generator)
        return blurred(self.taps, facts.get("spread", 0.0), generator), targets


@torch.no_grad()
def challenged(public: Public) -> Challenged:
    """Needs the public items backbone, challenge and head, and the facts of a protocol with additive fusion."""
    assert public.head is not None
    facts, backbone = public.facts, device_backbone(public)
    texts = [one.text for one in public.challenge]
    layers = [*facts["layers"], facts.get("depth", len(backbone.blocks))]
    form = facts["longest"], facts["prompt"], facts["selector"], layers
    pivots = over_texts(lambda some: pivot_activations(backbone, some, *form), texts)
    share = share_of(public, scores(public.head["weight"], backbone, pivots[:, -1]))
    taps = as_sent(through(pivots[:, :-1], cast(Precision, facts.get("precision", "fp32"))), public)
    labels = torch.tensor([public.labels.index(one.label) for one in public.challenge], dtype=torch.int64)
    return Challenged(labels, taps, _book(public, share.shape[1]), share)


def _book(public: Public, width: int) -> torch.Tensor:
    """(K, D)"""
    height = float(public.facts["scale"]) if public.facts["difference"] == "logit" else 1.0
    if public.keys is not None and "book" in public.keys:
        return height * public.keys["book"].mean(1)[:, :width]
    return height * one_hot(torch.arange(len(public.labels)), width).float()


@torch.no_grad()
def challenge_states(public: Public) -> torch.Tensor:
    """What would cross of each example (C, P L, d), but for noise: in language modelling with its class's words."""
    backbone = device_backbone(public)
    if public.facts.get("fusion") != "next token":
        return sent([one.text for one in public.challenge], public, backbone)
    rows = [example_tokens(one, public, backbone) for one in public.challenge]
    parts = (loss_positions(backbone, backbone.pad(rows[at : at + CHUNK])) for at in range(0, len(rows), CHUNK))
    precision = cast(Precision, public.facts["precision"])
    found = [one for part in parts for one in through(part.states, precision).split(part.lengths.tolist())]
    return torch.stack([standing(one, public.facts["positions"]).flatten(0, 1) for one in found])


def example_tokens(one: Challenge, public: Public, backbone: Backbone) -> list[int]:
    """The tokens of language modelling that are trained on of an example."""
    facts = public.facts
    label = one.label if facts["completion"] == WORDS else None
    return trained_tokens(backbone, one.text, facts["longest"], facts["question"], label)
