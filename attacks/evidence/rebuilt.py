"""A model put together from what an adversary holds, asked on the public queries.

Shapes: B texts, Q queries, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...system.backbone import Backbone
from ...system.heads import verbaliser
from ...system.partial import Bottom
from ...system.public import Public
from ..attack import StolenModel
from .labels.augmented import augmented
from .labels.probing import fitted

CHUNK = 64

Model = Callable[[list[str]], torch.Tensor]
"""Texts to class scores (B, K), or to what a head reads (B, d)."""


def answers(model: Model, public: Public) -> StolenModel:
    """Class scores (Q, K) on the queries."""
    return StolenModel(tuple(query.id for query in public.queries), _asked(model, [q.text for q in public.queries]))


def upon_bottom(
    backbone: Backbone, public: Public, top: Callable[..., torch.Tensor], tuned: Bottom | None = None
) -> Model:
    """A top upon a bottom: the public one where no tuned one is given."""
    facts: Mapping[str, Any] = public.facts
    bottom = tuned or Bottom(backbone, facts["cut"], 0, torch.Generator())

    def model(texts: list[str]) -> torch.Tensor:
        tokens = backbone.tokens(texts, facts["longest"], facts["prompt"])
        return top(bottom(tokens), tokens.mask)

    return model


def own_head(features: Model, backbone: Backbone, public: Public) -> Model:
    """A head of the attacker's own, in place of one that it does not have.

    It learns from auxiliary labels; without any it is the verbaliser, from which trained heads start.
    """
    if len({example.label for example in public.auxiliary}) < 2:
        head = verbaliser(backbone, public.labels)
        return lambda texts: features(texts) @ head.T
    learnt = augmented(public.auxiliary, public.labels, torch.Generator().manual_seed(0))
    rows = _asked(features, list(learnt.texts))
    classifier = fitted(rows, learnt.labels, len(public.labels), groups=learnt.groups)
    return lambda texts: classifier.probabilities(features(texts))


def _asked(model: Model, texts: list[str]) -> torch.Tensor:
    return torch.cat([model(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)])
