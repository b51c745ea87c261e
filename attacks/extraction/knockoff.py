"""A copy of a model that may only be asked: own texts and the model's answers teach the public backbone.

The copy is the backbone with low-rank updates and a head of its own, trained on the answers' probabilities.

Threat model: somebody who may ask a released model about texts of his own, sees class scores, and knows a public
backbone; no weight is released.
Source: knockoff nets, Orekondy et al. 2019, arXiv 1812.02766, by a fixed set of texts.

Shapes: A texts asked about, B texts, K classes, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ...system.backbone import Backbone, load_backbone
from ...system.errors import UsageError
from ...system.heads import verbaliser
from ...system.partial import Bottom
from ...system.public import Public
from ...system.selector import select
from ...system.view import View, finite
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.rebuilt import answers

BATCH = 16


@dataclass(frozen=True)
class KnockOff(Attack):
    """The backbone, taught by answers."""

    name = "knockoff"
    source = "arXiv 1812.02766"
    goal = Goal.MODEL
    needs = Needs(view=frozenset({"held:answers"}), public=frozenset({"auxiliary", "backbone", "queries"}))
    attacked = frozenset({"held:answers"})

    rank: int = 8
    epochs: int = 10
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        for name, value in (("rank", self.rank), ("epochs", self.epochs)):
            if value < 1:
                raise UsageError(f"{name} of knockoff is {value}; give at least 1")

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the copy on the queries."""
        assert public.backbone is not None
        told = finite(view.held["answers"]["scores"])
        copy = Copy(load_backbone(public.backbone), public, self.rank, generator)
        self._teach(copy, [one.text for one in public.auxiliary], told.softmax(1), generator)
        with torch.no_grad():
            return answers(copy, public)

    def _teach(self, copy: Copy, texts: list[str], told: torch.Tensor, generator: torch.Generator) -> None:
        """By the answers' probabilities (A, K)."""
        trained = [parameter for parameter in copy.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.learning_rate)
        for epoch in range(self.epochs):
            optimizer.param_groups[0]["lr"] = self.learning_rate * 0.5 * (1 + cos(pi * epoch / self.epochs))
            for rows in torch.randperm(len(texts), generator=generator).split(BATCH):
                optimizer.zero_grad()
                cross_entropy(copy([texts[row] for row in rows.tolist()]), told[rows]).backward()
                optimizer.step()


class Copy(nn.Module):
    """The backbone with updates and a head of the attacker's own."""

    def __init__(self, backbone: Backbone, public: Public, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self._backbone, self._facts = backbone, public.facts
        self.bottom = Bottom(backbone, len(backbone.blocks), rank, generator)
        self.head = nn.Parameter(verbaliser(backbone, public.labels).clone())
        self.bias = nn.Parameter(torch.zeros(len(public.labels)))

    def forward(self, texts: list[str]) -> torch.Tensor:
        """Class scores (B, K)."""
        tokens = self._backbone.tokens(texts, self._facts["longest"], self._facts["prompt"])
        states = self._backbone.final_norm(self.bottom(tokens))
        return select(states, tokens.mask, self._facts["selector"]) @ self.head.T + self.bias
