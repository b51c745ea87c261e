"""States of texts that are given as tokens: what would cross of them, and features that tell them apart.

Features are the states with their mean taken away and their correlations undone: what tells texts apart often lies in
directions that hardly vary. Where states are fitted with the noise that a device adds, directions that drown in it
weigh as little as they tell.

Memory: ROWS texts' states of all positions and blocks at a time; F^2 values in double precision, F at most as many as
texts that the features are fitted on.

Shapes: B texts, T positions, L layers that crossed, d width, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...system.backbone import Backbone, Tokens
from ...system.clipping import clipped
from ...system.codec import through
from ...system.public import Public
from .states import Form, blurred, form_of, within

ROWS, ENTRIES = 256, 2**26
"""Texts of one pass of the backbone at most, and numbers of all their states."""
FLOOR = 1e-6
"""Variance, of the mean variance, below which a direction is taken for rounding."""
CONSTANT = 1e-12
"""Variance, of the mean square, below which all of it is rounding."""


@torch.no_grad()
def states_of_tokens(
    backbone: Backbone,
    rows: Sequence[Sequence[int]],
    form: Form,
    layers: Sequence[int],
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """What would cross (B, L, d) of the pivots of texts given by their own tokens; with a generator, noised."""
    tail = [*backbone.token_ids(form.prompt), *backbone.suffix]
    whole = [[*backbone.prefix, *row, *tail] for row in rows]
    entries = max(map(len, whole), default=1) * max(layers) * backbone.width
    step = min(ROWS, max(1, ENTRIES // max(1, entries)))
    found = torch.cat([_pivots(backbone, whole[i : i + step], form, layers) for i in range(0, len(whole), step)])
    found = clipped(found, form.clip) if form.clip else found
    return through(blurred(found, form.spread, generator), form.precision)


def _pivots(backbone: Backbone, rows: list[list[int]], form: Form, layers: Sequence[int]) -> torch.Tensor:
    device = backbone.model.device
    tokens = Tokens(*(part.to(device) for part in backbone.pad(rows)))
    return backbone.pivots(tokens, form.selector, layers).cpu()


class Sender:
    """Computes what would cross of texts in one run, as its public facts tell."""

    def __init__(self, backbone: Backbone, public: Public) -> None:
        self._backbone, self._public = backbone, public
        self._form, self._layers = form_of(public.facts), list(public.facts["layers"])

    def states(self, rows: Sequence[Sequence[int]], generator: torch.Generator | None = None) -> torch.Tensor:
        """(B, L d) of texts given by their own tokens; with a generator, with noise as the device would draw it."""
        found = states_of_tokens(self._backbone, rows, self._form, self._layers, generator)
        return within(found, self._public).flatten(1)


def uncorrelated(states: torch.Tensor) -> dict[str, torch.Tensor]:
    """`middle` (1, L d) and `whitener` (L d, F): states (B, L d) then have about the identity as covariance."""
    middle = states.mean(0, keepdim=True)
    rows = (states - middle).double()
    if len(rows) <= rows.shape[1]:
        values, left = torch.linalg.eigh(rows @ rows.T / len(rows))
        vectors = rows.T @ left / (values.clamp(min=1e-30) * len(rows)).sqrt()
    else:
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    values = values.clamp(min=0)
    floor = FLOOR * values.mean() + CONSTANT * middle.double().square().mean()
    kept = values > floor
    kept[-1] = True  # states that do not vary have one feature, which tells nothing
    scale = (values[kept] + floor + torch.finfo(torch.float64).tiny).rsqrt()
    return {"middle": middle, "whitener": (vectors[:, kept] * scale).float()}


def accelerator() -> torch.device:
    """The device that learning is done on: an accelerator where there is one."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
