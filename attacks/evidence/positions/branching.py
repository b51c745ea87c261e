"""States of other tokens at many places of a text at once: the text is run once, and other tokens branch off it.

Side by side: the other tokens stand behind the whole text, each with the position of its place, and a mask lets each
see what stands before its place, and itself. That takes a family that is told positions and masks from outside
(learned and rotary positions). Families that count positions themselves (ALiBi) get every branch as a row of its own.

Shapes: B texts, T positions, C branches of a text, n layers, d width.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from transformers import DynamicCache

from ....system.backbone import Backbone, Tokens, record_blocks, run

SIDE_BY_SIDE = 256
"""Branches of a text in one pass: their mask grows with the square."""

ROWS = 4096
"""Branches of all texts in one pass, and tokens of rows run whole."""


def told_positions(backbone: Backbone) -> bool:
    """Whether the model takes positions from outside; whether it heeds them shows in its states."""
    return "position_ids" in inspect.signature(backbone.model.forward).parameters


class Branching:
    """Texts of ids (B, T), run once; `states` (B, T, n, d) are those after the named blocks."""

    def __init__(self, backbone: Backbone, layers: Sequence[int], ids: torch.Tensor, side_by_side: bool) -> None:
        self._backbone, self._ids, self._last = backbone, ids, max(layers)
        self._picked = [layer - 1 for layer in layers]
        self._cache = DynamicCache() if side_by_side else None
        self.states = backbone.activations(whole(ids), self._last, self._cache)[:, :, self._picked]

    @property
    def step(self) -> int:
        """Branches of each text that one call may take."""
        return min(SIDE_BY_SIDE, max(1, ROWS // (len(self._ids) * len(self._picked))))

    def branches(self, places: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """States (B, C, n, d) of tokens (B, C) at places (B, C), behind what the texts hold before each place."""
        return self._rows(places, tokens) if self._cache is None else self._beside(places, tokens)

    def _beside(self, places: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        (texts, count), depth = tokens.shape, self._ids.shape[1]
        mask = torch.full((texts, 1, count, depth + count), torch.finfo(torch.float32).min)
        mask[:, 0, :, :depth][torch.arange(depth) < places.unsqueeze(2)] = 0.0
        mask[..., depth:].diagonal(dim1=2, dim2=3).zero_()
        with record_blocks(list(self._backbone.blocks)[: self._last]) as taken:
            run(self._backbone.model, Tokens(tokens, mask), self._cache, places)
        assert self._cache is not None
        self._cache.crop(-count)
        return torch.stack([taken[at] for at in self._picked], 2)

    def _rows(self, places: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        at = places.reshape(-1, 1)
        rows = self._ids.repeat_interleave(tokens.shape[1], 0).scatter(1, at, tokens.reshape(-1, 1))
        step = max(1, ROWS // rows.shape[1])
        parts = zip(rows[:, : int(at.max()) + 1].split(step), at.squeeze(1).split(step), strict=True)
        states = [
            self._backbone.activations(whole(part), self._last)[torch.arange(len(part)), where][:, self._picked]
            for part, where in parts
        ]
        return torch.cat(states).view(*tokens.shape, len(self._picked), -1)


def whole(ids: torch.Tensor) -> Tokens:
    """Ids (B, T) without padding, or with padding that nothing before it sees."""
    return Tokens(ids, torch.ones_like(ids))
