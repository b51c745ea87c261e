"""Every layer's state turned by a secret orthogonal matrix of the layer's own.

A side network starts from random weights, so that it learns as well behind a rotation as without one; lengths and
angles stay as they were. The device turns its activations in the same way when it predicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .defence import Defence, Part
from .rotate import orthogonal


@dataclass(frozen=True)
class RotateActivations(Defence):
    """One rotation a layer for all samples, uniform over the orthogonal group."""

    name = "rotate-activations"
    title = "every layer's activations turned by a secret orthogonal matrix"
    source = "own derivation; Haar measure by QR: Mezzadri 2007"
    part = Part.ACTIVATIONS
    keyed = True

    def maps(self, layers: int, width: int, generator: torch.Generator) -> torch.Tensor:
        return orthogonal(layers, width, generator)
