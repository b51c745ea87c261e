"""Shadow bottoms: what a private bottom may look like after training, trained by the public recipe on auxiliary labels.

A device's updates start from factors that only the device knows, so that no shadow is the victim's; but how far states
drift, and in which directions, is much alike.

Source: shadow models, Shokri et al. 2017 (arXiv 1610.05820); for split language models cf. arXiv 2409.00960.

Shapes: B texts, T positions, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ....system.backbone import Backbone
from ....system.heads import verbaliser
from ....system.partial import FULL, Bottom, ScoredTop, load_tuned, tuned_state
from ....system.public import Public

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a device trains; what the protocol does not tell is as usual."""

    cut: int
    rank: int
    epochs: int
    batch: int
    rate: float
    rule: str


def recipe_of(facts: Mapping[str, Any]) -> Recipe:
    """The recipe, by the public settings."""
    lora = facts.get("lora", {})
    rank = FULL if lora.get("full") else int(facts.get("rank", lora.get("rank", 8)))
    return Recipe(
        int(facts["layers"][0]),
        rank,
        int(lora.get("epochs", 3)),
        int(lora.get("batch", 16)),
        float(lora.get("learning_rate", 3e-3)),
        str(lora.get("rule", "adamw")),
    )


def shadow_states(backbone: Backbone, public: Public, generator: torch.Generator) -> Iterator[dict[str, torch.Tensor]]:
    """What a bottom has learnt after each pass over the auxiliary texts."""
    recipe, examples = recipe_of(public.facts), public.auxiliary
    bottom = Bottom(backbone, recipe.cut, recipe.rank, generator)
    head, selector = verbaliser(backbone, public.labels), public.facts["selector"]
    top = ScoredTop(backbone, recipe.cut, recipe.rank, head, selector, generator)
    optimizer = optimizer_of(recipe, [p for part in (bottom, top) for p in part.parameters() if p.requires_grad])
    labels = torch.tensor([public.labels.index(example.label) for example in examples])
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * 0.5 * (1 + cos(pi * epoch / recipe.epochs))
        for rows in torch.randperm(len(examples), generator=generator).split(recipe.batch):
            texts = [examples[i].text for i in rows.tolist()]
            tokens = backbone.tokens(texts, public.facts["longest"], public.facts["prompt"])
            optimizer.zero_grad()
            cross_entropy(top(bottom(tokens), tokens.mask), labels[rows]).backward()
            optimizer.step()
        yield tuned_state(bottom)


def optimizer_of(recipe: Recipe, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the recipe names."""
    if recipe.rule == "sgd":
        return torch.optim.SGD(parameters, lr=recipe.rate)
    return torch.optim.AdamW(parameters, lr=recipe.rate)


class Drifted:
    """A bottom whose weights may move; it searches as a backbone does."""

    def __init__(self, backbone: Backbone, recipe: Recipe, rank: int, generator: torch.Generator) -> None:
        self.bottom = Bottom(backbone, recipe.cut, rank, generator)
        self.moving = [p for p in self.bottom.parameters() if p.requires_grad]
        if rank == FULL and recipe.rank != FULL:  # low-rank updates are of maps alone
            self.moving = [p for block in self.bottom.blocks for p in block.parameters() if p.dim() == 2]
        self._start = tuned_state(self.bottom)
        self.backbone = Backbone(self.bottom.model, backbone.tokenizer, backbone.name, backbone.digest)
        for parameter in self.moving:
            parameter.requires_grad_(True)

    def take(self, state: State | None) -> None:
        """Put a shadow's updates in; None is the public bottom."""
        load_tuned(self.bottom, state or self._start)
