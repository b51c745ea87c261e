"""Shadows of an adapter that was tuned elsewhere: adapters of the same configuration, tuned by the public recipe.

Each costs a tuning of the whole model, so that there are few; each is kept as soon as it is done.
Source: shadow models with and without every example, Carlini et al. 2022, arXiv 2112.03570, section IV.

Shapes: S shadows, C challenges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ....system.backbone import load_backbone
from ....system.public import Public
from ....system.released import AdaptedModel, Example, drawing
from ...workbench import Workbench
from ..adapted import challenged_examples, untuned_model
from .shadows import Shadows, halves


def adapted_shadows(public: Public, count: int, generator: torch.Generator, bench: Workbench) -> Shadows:
    """Tune so many on halves of the challenge, going on where it was stopped; errors are in nats."""
    assert public.backbone is not None
    examples, backbone = challenged_examples(public), load_backbone(public.backbone)
    none = torch.empty(0, len(examples))
    kept = bench.kept(generator) or {"inside": none.bool(), "errors": none}
    while len(kept["inside"]) < count:
        inside = halves(1, len(examples), generator)
        shadow = untuned_model(public, backbone, generator)
        own = [example for example, within in zip(examples, inside[0].tolist(), strict=True) if within]
        tune(shadow, own, public.facts["recipe"], generator)
        errors = shadow.errors(examples).unsqueeze(0)
        kept = {"inside": torch.cat([kept["inside"], inside]), "errors": torch.cat([kept["errors"], errors])}
        bench.keep(kept, generator)
        bench.progress(len(kept["inside"]), count)
    return Shadows(kept["inside"], kept["errors"], nats=True)


def tune(
    model: AdaptedModel, examples: Sequence[Example], recipe: Mapping[str, Any], generator: torch.Generator
) -> None:
    """Tune an adapter in place, with the dropout that model and adapter have."""
    trained = [parameter for parameter in model.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe["learning_rate"], weight_decay=0.0)
    epochs, batch = recipe["epochs"], recipe["batch"]
    orders = [torch.randperm(len(examples), generator=generator).split(batch) for _ in range(epochs)]
    steps = [rows.tolist() for order in orders for rows in order]
    model.model.train()
    with drawing(generator):
        for done, rows in enumerate(steps):
            optimizer.param_groups[0]["lr"] = recipe["learning_rate"] * (1 - done / len(steps))
            optimizer.zero_grad()
            model.losses([examples[row] for row in rows]).mean().backward()
            optimizer.step()
    model.model.eval()
