"""The tuned model: the frozen backbone, what reads it, and the side network that the server trained, in one object.

A device makes it of what it downloaded; an export holds all of it but the backbone, and becomes the same object again.

Shapes: B texts, N blocks of the backbone, K classes, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..backbone import Backbone
from ..defences.reading import Reading, Tapping
from ..forward import over_texts
from ..fusion import pivot_activations
from ..selector import Selector
from ..side_network import SideNetwork


@dataclass(frozen=True)
class Pivots:
    """Which position of a text is looked at."""

    longest: int
    prompt: str
    selector: Selector

    def of(self, backbone: Backbone, texts: Sequence[str]) -> torch.Tensor:
        """Its states after every block: (B, N, d)."""
        return pivot_activations(backbone, list(texts), self.longest, self.prompt, self.selector)


@dataclass(frozen=True)
class Tuned:
    """Backbone and side network, merged."""

    backbone: Backbone
    """As the device runs it."""
    pivots: Pivots
    tapping: Tapping
    reading: Reading
    side: SideNetwork

    @torch.no_grad()
    def predict(self, texts: Sequence[str]) -> torch.Tensor:
        """Class scores (B, K)."""
        return over_texts(lambda some: self.scores(self.pivots.of(self.backbone, some)), texts)

    def scores(self, states: torch.Tensor) -> torch.Tensor:
        """Class scores (B, K) of the pivots' states (B, N, d)."""
        return self.reading.scores(self.backbone, states[:, -1], self.side(self.tapping.shown(states)))
