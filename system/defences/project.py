"""Every layer's state projected on a few secret directions of the layer's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..errors import UsageError
from .defence import Defence, Part
from .rotate import orthogonal


@dataclass(frozen=True)
class Project(Defence):
    """Orthonormal directions, uniformly drawn, the same for all samples: fewer values cross, and fewer bytes."""

    name = "project"
    title = "every layer's activations projected on a few secret directions"
    source = "own derivation; random projections: Johnson and Lindenstrauss 1984"
    part = Part.ACTIVATIONS
    keyed = True

    width: int = 32
    """Directions a layer; 0 for as many as there are."""

    def __post_init__(self) -> None:
        if self.width < 0:
            raise UsageError(f"the width of project is {self.width}; give at least 1, or 0 for the whole width")

    def maps(self, layers: int, width: int, generator: torch.Generator) -> torch.Tensor:
        if self.width > width:
            raise UsageError(f"the width of project is {self.width} and activations have {width} values; give fewer")
        return orthogonal(layers, width, generator)[:, : self.width or width]

    def weakest(self) -> Project:
        return replace(self, width=0, revealed=True)
