"""All defences of a run's activations together: what crosses of the backbone's states, and what is public about it.

Keys come from streams of their own, so that all devices of a run have the same and the server trains one side network.

Shapes: B samples of a message, N blocks of the backbone, L layers that cross, d width, k width that crosses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ..codec import Precision
from ..randomness import Streams
from .activation_noise import ActivationNoise
from .defence import Defence
from .reading import Tapping
from .round_backbone import RoundBackbone


@dataclass(frozen=True)
class Cover:
    """The defences of one run's activations with their keys."""

    defences: tuple[Defence, ...]
    blocks: int
    """N."""
    full_width: int
    """d."""
    streams: Streams

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers that cross, from 1."""
        found = tuple(range(1, self.blocks + 1))
        for defence in self.defences:
            found = tuple(defence.kept(found))
        return found

    @cached_property
    def maps(self) -> torch.Tensor | None:
        """Products of all secret matrices (L, k, d); None where there are none."""
        product: torch.Tensor | None = None
        for defence in self.defences:
            width = self.full_width if product is None else product.shape[1]
            generator = self.streams.torch(f"key:{defence.name}:activations")
            found = defence.maps(len(self.layers), width, generator)
            if found is not None:
                product = found if product is None else found @ product
        return product

    @property
    def width(self) -> int:
        """k."""
        return self.full_width if self.maps is None else self.maps.shape[1]

    @cached_property
    def tapping(self) -> Tapping:
        """Which states the side network sees."""
        return Tapping(self.layers, self.defences, self.maps)

    def shown(self, pivots: torch.Tensor) -> torch.Tensor:
        """What would cross without noise (B, L, k) of all blocks' states (B, N, d)."""
        return self.tapping.shown(pivots)

    def sent(self, pivots: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """What crosses (B, L, k), with fresh noise."""
        states = self.tapping.bounded(pivots)
        for defence in self.defences:
            states = defence.blurred(states, generator)
        return self.tapping.mapped(states)

    def precision(self, own: Precision) -> Precision:
        """At which precision activations cross."""
        for defence in self.defences:
            own = defence.wire_precision(own)
        return own

    def facts(self, own: Precision) -> Mapping[str, Any]:
        """What anybody knows of how activations come about.

        `activations` says whether secret maps stand before them: `plain`, where a control reveals a rotation too;
        `rotated`; `projected`; `known projection`. Plain states may be clipped and noisy all the same: `clip` is the
        largest length of a layer's state and `spread` the noise's standard deviation, both 0 without such noise.
        `weight_bits` are those of the device's backbone, 0 where it is the public one.
        """
        noises = [one for one in self.defences if isinstance(one, ActivationNoise)]
        roundings = [one for one in self.defences if isinstance(one, RoundBackbone)]
        return {
            "layers": list(self.layers),
            "first_layer": "sent" if self.layers[0] == 1 else "withheld",
            "last_layer": "sent" if self.layers[-1] == self.blocks else "withheld",
            "activations": self._form,
            "clip": min((one.clip for one in noises), default=0.0),
            "spread": sum(one.deviation(len(self.layers)) ** 2 for one in noises) ** 0.5,
            "weight_bits": min((one.bits for one in roundings), default=0),
            "precision": self.precision(own),
        }

    @property
    def _form(self) -> str:
        known = any(defence.revealed for defence in self.defences)
        if self.width < self.full_width:
            return "known projection" if known else "projected"
        return "plain" if known or self.maps is None else "rotated"
