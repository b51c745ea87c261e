"""States of texts that are given as tokens: what would cross of them, and features that tell them apart.

Features are the states with their mean taken away and their correlations undone: what tells texts apart often lies in
directions that hardly vary.

Shapes: B texts, T positions, P positions that stand for a text, L layers, d width, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...system.backbone import Backbone, Tokens
from ...system.codec import through
from ...system.fusion import pack_positions, unpack_positions
from ...system.public import Public
from ...system.selector import select
from .states import form_of

ROWS = 256
"""Texts of one pass of the backbone."""
FLOOR = 1e-6
"""Variance, of the mean variance, below which a direction is taken for rounding."""


class Sender:
    """Computes what would cross of texts, on the device that the backbone is on."""

    def __init__(self, backbone: Backbone, public: Public) -> None:
        self._backbone, self._layers, self._form = backbone, list(public.facts["layers"]), form_of(public.facts)
        self._tail = backbone.token_ids(self._form.prompt) if self._form.prompt else []

    @torch.no_grad()
    def states(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """(B, P L d) of texts given by their own tokens, first position first."""
        parts = [self._states(rows[i : i + ROWS]) for i in range(0, len(rows), ROWS)]
        return torch.cat(parts)

    def _states(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        device = self._backbone.model.device
        made = self._backbone.pad([[*self._backbone.prefix, *row, *self._tail] for row in rows])
        tokens = Tokens(*(part.to(device) for part in made))
        found = self._backbone.activations(tokens, max(self._layers))[:, :, [layer - 1 for layer in self._layers]]
        if self._form.positions != "all":
            return self._crossed(select(found, tokens.mask, self._form.selector)).flatten(1)
        packed, lengths = pack_positions(found, tokens)
        crossed, mask = unpack_positions(self._crossed(packed), lengths)
        return torch.stack([select(crossed, mask, "mean"), select(crossed, mask, "last")], 1).flatten(1)

    def _crossed(self, states: torch.Tensor) -> torch.Tensor:
        exact = self._form.precision == "fp32"
        return states if exact else through(states, self._form.precision).to(states.device)


def uncorrelated(states: torch.Tensor) -> dict[str, torch.Tensor]:
    """`middle` (1, P L d) and `whitener` (P L d, F): states (B, P L d) then have about the identity as covariance."""
    middle = states.mean(0, keepdim=True)
    rows = (states - middle).double()
    if len(rows) <= rows.shape[1]:
        values, left = torch.linalg.eigh(rows @ rows.T / len(rows))
        vectors = rows.T @ left / (values.clamp(min=1e-30) * len(rows)).sqrt()
    else:
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    values = values.clamp(min=0)
    kept = values > FLOOR * values.mean()
    scale = (values[kept] + FLOOR * values.mean()).rsqrt()
    return {"middle": middle, "whitener": (vectors[:, kept] * scale).float()}


def accelerator() -> torch.device:
    """The device that learning is done on: an accelerator where there is one."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
