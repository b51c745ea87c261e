"""A server's differences lined up by sample with the pivots, and class scores of what they are about.

Where a control reveals a secret transform, it is undone here, for every attack; codewords that a control reveals are
used by `class_scores`, by `candidates` and by `codewords.decoded`. The backbone's share can be computed where
`states.share_known`; attacks that live on it say so in SHARE.

Shapes: N samples, L layers, d width, K classes, D values of a difference (K unless a defence changed it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn.functional import pad

from ...system.backbone import load_backbone
from ...system.difference import DIFFERENCE_KINDS, DifferenceKind, fused
from ...system.heads import scores
from ...system.public import Public
from ...system.view import View, finite
from .states import PLAIN, plain

CLASSES: Mapping[str, tuple[str, ...]] = {"difference": DIFFERENCE_KINDS}
"""A difference that is about classes, and crosses whole."""
JOINED: Mapping[str, tuple[str, ...]] = {**CLASSES, "positions": ("pivot", "mean")}
"""Public facts behind which each sample's difference goes with one state a layer."""
SHARE: Mapping[str, tuple[str, ...]] = {**JOINED, "activations": (PLAIN,), "last_layer": ("sent",)}
"""Public facts behind which the backbone's share can be recomputed."""


@dataclass(frozen=True)
class Differences:
    """What crossed for each sample that sent both kinds, in order of arrival of the activations."""

    ids: tuple[str, ...]
    values: torch.Tensor
    """(N, D) differences as received, a revealed transform undone."""
    pivots: torch.Tensor
    """(N, L, d) activations, revealed maps undone."""
    received: torch.Tensor
    """(N, L, k) activations as received: what the server's side network reads."""


def differences(view: View, public: Public) -> Differences:
    """Both kinds, joined by sample id."""
    ids, values = view.rows("difference", "difference")
    where = {sample_id: i for i, sample_id in enumerate(ids)}
    order, activations = view.rows("activations", "activations")
    kept = [i for i, sample_id in enumerate(order) if sample_id in where]
    joined = values[[where[order[i]] for i in kept]]
    received = activations[kept]
    values, pivots = finite(undone(joined, public)), finite(plain(received, public))
    return Differences(tuple(order[i] for i in kept), values, pivots, received)


def undone(values: torch.Tensor, public: Public) -> torch.Tensor:
    """Differences (N, D) before the secret linear map, where a control reveals it."""
    if public.keys is None or "transform" not in public.keys:
        return values
    # rows were sent as x @ M.T
    solved: torch.Tensor = torch.linalg.solve(public.keys["transform"], values.T)
    return solved.T


def backbone_scores(public: Public, pivots: torch.Tensor) -> torch.Tensor:
    """The backbone's scores (N, D) recomputed from pivots (N, L, d); needs the public items backbone and head."""
    assert public.backbone is not None
    assert public.head is not None
    return scores(public.head["weight"], load_backbone(public.backbone), pivots[:, -1])


def backbone_share(public: Public, pivots: torch.Tensor) -> torch.Tensor:
    """What the device took away (N, D), recomputed from pivots (N, L, d) with the public head."""
    return share_of(public, backbone_scores(public, pivots))


def share_of(public: Public, scores_of_backbone: torch.Tensor) -> torch.Tensor:
    """What the backbone's scores (N, D) are in a difference of the public kind."""
    return fused(cast(DifferenceKind, public.facts["difference"]), scores_of_backbone)


def class_scores(public: Public, values: torch.Tensor, backbone_scores: torch.Tensor | None) -> torch.Tensor:
    """Class scores (N, K) of differences or a side network's outputs (N, D) plus the backbone's share, where known.

    Values beyond the classes are left out, as far as no revealed codewords say what they mean.
    """
    if backbone_scores is not None:
        share = share_of(public, backbone_scores)
        both = min(values.shape[1], share.shape[1])  # a public head has no rows for decoy classes
        values = torch.cat([values[:, :both] + share[:, :both], values[:, both:]], 1)
    if public.keys is not None and "book" in public.keys:
        height = public.facts["scale"] if public.facts["difference"] == "logit" else 1.0
        means = height * public.keys["book"].mean(1)
        return values @ means.T - 0.5 * means.square().sum(1)
    classes = len(public.labels)
    return pad(values[:, :classes], (0, max(0, classes - values.shape[1])))
