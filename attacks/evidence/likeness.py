"""How near received states lie to those of texts at hand, in units of what defences and rounding add.

Shapes: M texts, E of them as examples, P positions that stand for a text, L layers that crossed, d width, F features of
all layers.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.codec import through
from ...system.public import Public
from ...system.rounding import rounded
from .states import blurred, form_of, states_of, within

EXACT = 1e-3
"""Standard deviation of what passes of other shapes differ by, over that of a value among texts."""


def device_backbone(public: Public) -> Backbone:
    """The backbone as the device runs it: how its weights are held and rounded is public."""
    assert public.backbone is not None
    backbone = load_backbone(public.backbone, public.facts.get("weights", "fp32"))
    bits = public.facts.get("weight_bits", 0)
    return rounded(backbone, bits) if bits else backbone


def sent(texts: list[str], public: Public, backbone: Backbone) -> torch.Tensor:
    """What would cross of texts (M, P L, d), but for noise; rounding behind noise is part of the errors."""
    facts = {**public.facts, "precision": "fp32"} if form_of(public.facts).spread else public.facts
    return states_of(texts, replace(public, facts=facts), backbone=backbone)


def errors(examples: torch.Tensor, public: Public, generator: torch.Generator) -> torch.Tensor:
    """Standard deviations (F,) of what crosses of states (E, P L, d) around them, the same for a layer's values."""
    form, width = form_of(public.facts), examples.shape[2]
    usual = (examples - examples.mean(0)).square().mean((0, 2))
    variances = EXACT**2 * usual.clamp(min=EXACT**2 * float(usual.mean()) + torch.finfo(usual.dtype).tiny)
    if form.spread and form.precision == "fp32":
        variances = variances + form.spread**2
    elif form.spread:
        received = within(through(blurred(examples, form.spread, generator), form.precision), public)
        maps = (public.keys or {}).get("activations")
        kept = width if maps is None else maps.shape[1]  # the other directions hold nothing, and no error
        variances = variances + (received - examples).square().mean((0, 2)) * width / kept
    return variances.sqrt().repeat_interleave(width)
