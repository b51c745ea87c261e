"""What prediction needs of a run's defences, keys included: tensors that a device has anyway and an export keeps.

`Tapping` goes from a text's states to what the side network takes, `Reading` from the side network's outputs to class
scores. They are of this run's keys: whoever has them and saw what crossed is no longer kept out by the keys.

Shapes: B texts, N blocks of the backbone, L layers that cross, K classes, D values of a difference, d width, k width
behind a map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..backbone import Backbone
from ..difference import DifferenceKind, fused
from ..heads import scores
from .defence import Defence


@dataclass(frozen=True)
class Tapping:
    """Which states the side network sees, and how."""

    layers: tuple[int, ...]
    """Numbers of the layers that cross, from 1."""
    bounds: tuple[Defence, ...]
    """Defences, of which only their public bounds are used."""
    maps: torch.Tensor | None
    """(L, k, d) by which layers' states are multiplied; None for none."""

    def bounded(self, pivots: torch.Tensor) -> torch.Tensor:
        """The layers' states (B, L, d) within bounds, of all blocks' (B, N, d)."""
        states = pivots[:, [layer - 1 for layer in self.layers]]
        for defence in self.bounds:
            states = defence.bounded(states)
        return states

    def mapped(self, states: torch.Tensor) -> torch.Tensor:
        """(B, L, d) to (B, L, k)."""
        return states if self.maps is None else torch.einsum("bld,lkd->blk", states, self.maps)

    def shown(self, pivots: torch.Tensor) -> torch.Tensor:
        """What would cross without noise (B, L, k) of all blocks' states (B, N, d): the device predicts from it."""
        return self.mapped(self.bounded(pivots))


@dataclass(frozen=True)
class Reading:
    """How class scores come of the backbone's share and the side network's outputs."""

    kind: DifferenceKind
    classes: int
    """K."""
    width: int
    """D."""
    head: torch.Tensor | None
    """(D, d) the frozen head behind the backbone's share; None where no share is taken away."""
    transform: torch.Tensor | None
    """(D, D) by which differences were multiplied; None for none."""
    means: torch.Tensor | None
    """(K, D) each class's mean codeword; None where values stand for classes, the first K of them."""

    def share(self, backbone: Backbone, pivots: torch.Tensor) -> torch.Tensor:
        """The backbone's share of differences (B, D), for last states of pivots (B, d)."""
        if self.head is None:
            return torch.zeros(len(pivots), self.width)
        return fused(self.kind, scores(self.head, backbone, pivots))

    def scores(self, backbone: Backbone, pivots: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Class scores (B, K) from last states of pivots (B, d) and the side network's outputs (B, D)."""
        if self.transform is not None:
            outputs = torch.linalg.solve(self.transform, outputs.T).T
        whole = self.share(backbone, pivots) + outputs
        if self.means is None:
            return whole[:, : self.classes]
        return whole @ self.means.T - 0.5 * self.means.square().sum(1)
