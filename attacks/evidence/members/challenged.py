"""What an adversary computes of the challenge's examples: the states and the difference that each would have sent.

Where a control reveals keys, differences are those before any secret transform, and codewords their class's mean.

Shapes: C challenges, L layers that crossed, k width behind maps, K classes, D values of a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.functional import one_hot

from ....system.clipping import clipped
from ....system.codec import Precision, through
from ....system.fusion import pivot_activations
from ....system.heads import scores
from ....system.public import Public
from ..differences import share_of
from ..likeness import device_backbone
from ..states import CHUNK, FACTS, as_sent, blurred

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
    parts = (texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK))
    layers = [*facts["layers"], facts.get("depth", len(backbone.blocks))]
    form = facts["longest"], facts["prompt"], facts["selector"], layers
    pivots = torch.cat([pivot_activations(backbone, part, *form) for part in parts])
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
