"""A model put together from what an adversary holds, asked on the public queries.

Shapes: B texts, Q queries, L layers that crossed, d width, D values of a difference, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from ...system.backbone import Backbone
from ...system.forward import CHUNK, over_texts
from ...system.fusion import pivot_activations
from ...system.heads import scores, verbaliser
from ...system.partial import Bottom, SelectedTop, stored_bottom, stored_top
from ...system.public import Public
from ...system.selector import select
from ...system.side_network import from_state
from ..attack import StolenModel
from .labels.augmented import augmented
from .labels.probing import fitted
from .states import as_sent

Model = Callable[[list[str]], torch.Tensor]
"""Texts to class scores (B, K), or to what a head reads (B, d)."""


class Pivots(NamedTuple):
    """What a side network on pivots makes of texts."""

    states: torch.Tensor
    """(B, L, d) after the layers that cross, as they are without a map."""
    last: torch.Tensor
    """(B, d) after the device's last block."""
    outputs: torch.Tensor
    """(B, D) of the side network."""

    def backbone_scores(self, backbone: Backbone, public: Public) -> torch.Tensor | None:
        """(B, K) by the public head; None where it is secret."""
        return None if public.head is None else scores(public.head["weight"], backbone, self.last)


def on_pivots(backbone: Backbone, public: Public, tuned: Mapping[str, torch.Tensor]) -> Callable[[list[str]], Pivots]:
    """A held side network, asked as the device asks it."""
    facts, side = public.facts, from_state(tuned)
    layers = [*facts["layers"], facts.get("depth", len(backbone.blocks))]

    def asked(texts: list[str]) -> Pivots:
        found = pivot_activations(backbone, texts, facts["longest"], facts["prompt"], facts["selector"], layers)
        outputs = side(as_sent(found[:, :-1], public), facts.get("projection", ""))
        return Pivots(found[:, :-1], found[:, -1], outputs)

    return asked


def asked_pivots(backbone: Backbone, public: Public, tuned: Mapping[str, torch.Tensor]) -> Pivots:
    """The same of all queries."""
    asked, texts = on_pivots(backbone, public, tuned), [query.text for query in public.queries]
    parts = [asked(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    return Pivots(*(torch.cat(column) for column in zip(*parts, strict=True)))


def stolen(public: Public, outputs: torch.Tensor) -> StolenModel:
    """A model by its class scores (Q, K)."""
    return StolenModel(tuple(query.id for query in public.queries), outputs.float())


def answers(model: Model, public: Public) -> StolenModel:
    """Class scores (Q, K) on the queries."""
    return stolen(public, over_texts(model, [query.text for query in public.queries]))


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


def averaged(
    backbone: Backbone, public: Public, average: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor] | None
) -> Model:
    """The model of what devices tune and average, with the main server's `tuned` top where it is at hand."""
    selector = public.facts["selector"]
    if "head" in average:
        whole = stored_bottom(backbone, len(backbone.blocks), average)

        def headed(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return select(backbone.final_norm(states), mask, selector) @ average["head"].T + average["bias"]

        return upon_bottom(backbone, public, headed, whole)
    cut = public.facts["cut"]
    bottom = stored_bottom(backbone, cut, average)
    if tuned is not None:
        return upon_bottom(backbone, public, stored_top(backbone, cut, selector, tuned), bottom)
    top = SelectedTop(backbone, cut, 0, selector, torch.Generator())
    return own_head(upon_bottom(backbone, public, top, bottom), backbone, public)


def own_head(features: Model, backbone: Backbone, public: Public) -> Model:
    """A head of the attacker's own, in place of one that it does not have.

    It learns from auxiliary labels, and scores by logarithms of probabilities; without any it is the verbaliser, from
    which trained heads start. Either way differences of scores are logarithms of odds.
    """
    if len({example.label for example in public.auxiliary}) < 2:
        head = verbaliser(backbone, public.labels)
        return lambda texts: features(texts) @ head.T
    learnt = augmented(public.auxiliary, public.labels, torch.Generator().manual_seed(0))
    rows = over_texts(features, learnt.texts)
    classifier = fitted(rows, learnt.labels, len(public.labels), groups=learnt.groups)
    return lambda texts: classifier.logarithms(features(texts))
