"""Shadow side networks: many, each trained as the server trains its own, on a random half of the challenge.

The backbone is frozen, so that a shadow costs no forward pass of it; and all shadows of a group are one batched
computation with one optimiser for all, which treats every weight by itself. A group
has one draw of a defence's noise. DP-SGD at the server is left out: shadows then remember more than what they imitate.

Source: shadow models with and without every example, as for LiRA (Carlini et al. 2022, arXiv 2112.03570, section IV).

Shapes: S shadows, G of them in a group, C challenges, L layers, k width of a tap, r bottleneck, D outputs, b a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi
from typing import NamedTuple

import torch
from torch.func import vmap
from torch.nn.functional import layer_norm

from ....system.side_network import SideNetwork, SideShape, cascade
from ...workbench import Workbench
from .group_gradient import GroupGradient, Weights

GROUP = 32
"""Shadows trained at once: their weights, gradients and moments should stay near the processor."""


Pair = tuple[torch.Tensor, torch.Tensor]
Sent = Callable[[torch.Generator], Pair]
"""Taps and targets as devices would send them: each group of shadows trains on a draw of its own."""


@dataclass(frozen=True)
class Recipe:
    """How the server trains, as its public settings say; see `SideTraining` in system/protocols/side_training.py."""

    bottleneck: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float

    def rate(self, epoch: int) -> float:
        return self.learning_rate * 0.5 * (1 + cos(pi * min(epoch / max(self.epochs, 1), 1.0)))


class Shadows(NamedTuple):
    """What shadows say of every challenge."""

    inside: torch.Tensor
    """(S, C) bool: whether a shadow trained on it"""
    errors: torch.Tensor
    """(S, C) squared distance of a shadow's output from the challenge's target; of adapters the cross-entropy"""
    nats: bool = False
    """Whether errors are negative logarithms of likelihoods."""


def shadows_of(
    clean: Pair, sent: Sent, recipe: Recipe, count: int, generator: torch.Generator, bench: Workbench
) -> Shadows:
    """Train so many on halves of what is sent, group by group, going on where it was stopped.

    `clean` are the taps (C, L, k) and targets (C, D) that errors are taken of.
    """
    (taps, targets), none = clean, torch.empty(0, len(clean[0]))
    kept = bench.kept(generator) or {"inside": none.bool(), "errors": none}
    normal = normalised(taps)
    while (done := len(kept["inside"])) < count:
        inside = halves(min(GROUP, count - done), len(taps), generator)
        read, told = sent(generator)
        weights = trained(normalised(read), told, inside, recipe, generator)
        errors = (answered(weights, normal) - targets).square().sum(2)
        kept = {"inside": torch.cat([kept["inside"], inside]), "errors": torch.cat([kept["errors"], errors])}
        bench.keep(kept, generator)
        bench.progress(len(kept["inside"]), count)
    return Shadows(kept["inside"], kept["errors"])


def normalised(taps: torch.Tensor) -> torch.Tensor:
    """Taps (C, L, k) of zero mean and unit variance, layer by layer (L, C, k)."""
    return layer_norm(taps, taps.shape[-1:]).transpose(0, 1).contiguous()


def halves(shadows: int, rows: int, generator: torch.Generator) -> torch.Tensor:
    """(G, C) bool: a random half of the rows for each, all of one size, so that a group's batches are."""
    inside = torch.zeros(shadows, rows, dtype=torch.bool)
    for own in inside:
        own[torch.randperm(rows, generator=generator)[: max(rows // 2, 1)]] = True
    return inside


def trained(
    taps: torch.Tensor, targets: torch.Tensor, inside: torch.Tensor, recipe: Recipe, generator: torch.Generator
) -> Weights:
    """A group's weights after all epochs on normalised taps (L, C, k), each shadow on its own rows."""
    weights = drawn(len(inside), len(taps), taps.shape[2], targets.shape[1], recipe.bottleneck, generator)
    optimizer = torch.optim.AdamW(weights.all(), lr=0.0, weight_decay=recipe.weight_decay, fused=True)
    gradient = GroupGradient(weights)
    own = torch.stack([rows.nonzero().squeeze(1) for rows in inside])
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch)
        order = torch.stack([rows[torch.randperm(len(rows), generator=generator)] for rows in own])
        for rows in order.split(recipe.batch, dim=1):
            gradient(taps, rows, targets[rows])
            optimizer.step()
    return weights


def drawn(shadows: int, layers: int, width: int, outputs: int, bottleneck: int, generator: torch.Generator) -> Weights:
    """As the server's network starts."""
    shape = SideShape(layers, width, bottleneck, outputs)
    states = [SideNetwork(shape, generator).state_dict() for _ in range(shadows)]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    return Weights(
        stacked["alpha"],
        tuple(one.contiguous() for one in stacked["down"].unbind(1)),
        tuple(one.contiguous() for one in stacked["up"].unbind(1)),
        stacked["out"],
        stacked["bias"],
    )


@torch.no_grad()
def answered(weights: Weights, taps: torch.Tensor, chunk: int = 256) -> torch.Tensor:
    """Outputs (G, C, D) for all rows."""
    return torch.cat([_outputs_alike(*weights, part.unbind()) for part in taps.split(chunk, 1)], 1)


def recipe_of(facts: Mapping[str, Mapping[str, float]]) -> Recipe:
    """From public settings."""
    side = facts["side"]
    return Recipe(
        int(side["bottleneck"]), int(side["epochs"]), int(side["batch"]), side["learning_rate"], side["weight_decay"]
    )


def _output(
    alpha: torch.Tensor,
    downs: tuple[torch.Tensor, ...],
    ups: tuple[torch.Tensor, ...],
    out: torch.Tensor,
    bias: torch.Tensor,
    taps: tuple[torch.Tensor, ...],
) -> torch.Tensor:
    """One shadow's outputs (b, D)."""
    return cascade(taps, alpha.sigmoid().unbind(), downs, ups) @ out.T + bias


_outputs_alike = vmap(_output, in_dims=(0, 0, 0, 0, 0, None))
"""All shadows on the same rows."""
