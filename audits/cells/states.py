"""States of texts as a run's activations cross, and the classifiers of them, kept for all runs of a victim.

Shapes: M texts, P positions that stand for a text (2 where all positions cross, else 1), d width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch

from ...attacks.evidence.probing import Linear, features, fitted
from ...system.backbone import Backbone
from ...system.codec import Precision, through
from ...system.fusion import pack_positions, pivot_activations
from ...system.selector import Selector

CHUNK = 64
"""Texts of one forward pass."""


class Form(NamedTuple):
    """How a text becomes states."""

    longest: int
    prompt: str
    selector: Selector
    positions: str = "pivot"
    precision: Precision = "fp32"


def form_of(facts: Mapping[str, Any]) -> Form:
    """As a run's activations cross."""
    where, precision = facts.get("positions", "pivot"), facts.get("precision", "fp32")
    return Form(facts["longest"], facts["prompt"], facts["selector"], where, cast(Precision, precision))


@lru_cache(maxsize=8)
@torch.no_grad()
def states(backbone: Backbone, texts: tuple[str, ...], form: Form) -> torch.Tensor:
    """After every block, (M, blocks, P, d); kept, because all runs of a victim ask for the same.

    Where all positions cross, their mean and then the last one, as `crossed_states` has them.
    """
    return torch.cat([_states(backbone, list(texts[i : i + CHUNK]), form) for i in range(0, len(texts), CHUNK)])


def _states(backbone: Backbone, texts: list[str], form: Form) -> torch.Tensor:
    if form.positions != "all":
        pivots = pivot_activations(backbone, texts, form.longest, form.prompt, form.selector)
        return through(pivots, form.precision).unsqueeze(2)
    tokens = backbone.tokens(texts, form.longest, form.prompt)
    packed, lengths = pack_positions(backbone.activations(tokens), tokens)
    parts = through(packed, form.precision).split(lengths.tolist())
    return torch.stack([torch.stack([part.mean(0), part[-1]], dim=1) for part in parts])


@lru_cache(maxsize=16)
def discriminant(
    backbone: Backbone,
    texts: tuple[str, ...],
    labels: tuple[int, ...],
    classes: int,
    layers: tuple[int, ...],
    form: Form,
) -> Linear:
    """Of labelled texts' states after some blocks, the first of which is 1; kept as they are."""
    return fitted(after(states(backbone, texts, form), layers), torch.tensor(labels), classes)


def after(found: torch.Tensor, layers: Sequence[int]) -> torch.Tensor:
    """Features (M, P x layers x d) of some blocks, the first of which is 1, from states (M, blocks, P, d)."""
    return features(found[:, [layer - 1 for layer in layers]].transpose(1, 2))
