"""What an adversary computes of the challenge's examples: the states and the difference that each would have sent.

Shapes: C challenges, L layers that crossed, B blocks, d width, k width behind maps, D values of a difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.functional import one_hot

from ....system.codec import Precision, through
from ....system.fusion import pivot_activations
from ....system.heads import scores
from ....system.public import Public
from ..differences import share_of
from ..likeness import device_backbone
from ..states import CHUNK, as_sent


@dataclass(frozen=True)
class Challenged:
    """Of every example, in the challenge's order, without a defence's noise."""

    labels: torch.Tensor
    """(C,) int64"""
    taps: torch.Tensor
    """(C, L, k) what a side network on pivots reads"""
    targets: torch.Tensor
    """(C, D) the difference of its own label, before any secret transform"""
    share: torch.Tensor
    """(C, D) what the backbone contributes to a prediction"""


@torch.no_grad()
def challenged(public: Public) -> Challenged:
    """Needs the public items backbone, challenge and head, and the facts of a protocol with additive fusion."""
    assert public.head is not None
    facts, backbone = public.facts, device_backbone(public)
    texts = [one.text for one in public.challenge]
    parts = (texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK))
    form = facts["longest"], facts["prompt"], facts["selector"]
    pivots = torch.cat([pivot_activations(backbone, part, *form) for part in parts])
    share = share_of(public, scores(public.head["weight"], backbone, pivots[:, -1]))
    crossed = pivots[:, [layer - 1 for layer in facts["layers"]]]
    taps = as_sent(through(crossed, cast(Precision, facts.get("precision", "fp32"))), public)
    labels = torch.tensor([public.labels.index(one.label) for one in public.challenge], dtype=torch.int64)
    height = float(facts["scale"]) if facts["difference"] == "logit" else 1.0
    return Challenged(labels, taps, height * one_hot(labels, share.shape[1]) - share, share)
