"""A private bottom at the end of its training, from texts that were recovered and the states that they had.

The states of the last pass over the data are those of a bottom that hardly moves any more. A copy of the public bottom
is moved, in low-rank updates as the device's are, until the texts give them: on the whole pass first, then on the end
of it alone. Where the gradients that came back led the bottom shows in the states themselves.

Shapes: B texts, T positions, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ....system.backbone import Backbone
from ....system.partial import Bottom
from .shadow_bottoms import Recipe

WINDOWS = ((1.0, 1.0, 300), (1 / 3, 1 / 3, 150), (0.1, 1 / 6, 60))
"""The share of the pass that is fitted, counted from its end; the rate, over the device's; steps."""
BATCH = 32
"""Texts of a step."""
TINY = 1e-9


class Sighting(NamedTuple):
    """One text that crossed."""

    tokens: tuple[int, ...]
    """Its own, as recovered."""
    states: torch.Tensor
    """(T, d), those of the opening tokens and of the prompt among them."""


def followed(
    backbone: Backbone, recipe: Recipe, sightings: Sequence[Sighting], prompt: str, generator: torch.Generator
) -> Bottom:
    """The bottom that gives sightings, in the order in which they crossed, the states that they had."""
    bottom = Bottom(backbone, recipe.cut, recipe.rank, generator)
    moving = [parameter for parameter in bottom.parameters() if parameter.requires_grad]
    tail = backbone.token_ids(prompt)
    for share, rate, steps in WINDOWS:
        window = sightings[-max(1, round(share * len(sightings))) :]
        ordered = sorted(window, key=lambda one: len(one.tokens))
        batches = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
        optimizer = torch.optim.AdamW(moving, recipe.rate * rate, weight_decay=0.0)
        for step, at in enumerate(torch.randint(len(batches), (steps,), generator=generator).tolist()):
            optimizer.param_groups[0]["lr"] = recipe.rate * rate * (1 - step / steps)
            optimizer.zero_grad()
            distance(backbone, bottom, batches[at], tail).backward()
            optimizer.step()
    return bottom


def distance(backbone: Backbone, bottom: Bottom, batch: Sequence[Sighting], tail: Sequence[int]) -> torch.Tensor:
    """Mean relative distance of a batch's states from those received: not its square, since some texts are wrong."""
    tokens = backbone.pad([[*backbone.prefix, *one.tokens, *tail] for one in batch])
    received = torch.cat([one.states for one in batch])
    made = bottom(tokens)[tokens.mask.bool()]
    apart: torch.Tensor = (made - received).norm(dim=1) / received.norm(dim=1).clamp_min(TINY)
    return apart.mean()
