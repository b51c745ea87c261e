"""Activations of some layers only: fewer bytes, and a side network with fewer adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ..errors import UsageError
from .defence import Defence, Part

Which = Literal["even", "first", "last"]


@dataclass(frozen=True)
class Layers(Defence):
    """Which layers cross is public. The difference is still defined by the last one, whether it crosses or not."""

    name = "layers"
    title = "a subset of the layers crosses"
    source = "own derivation"
    part = Part.ACTIVATIONS
    keyed = False

    count: int = 1
    """Layers that cross; 0 for all."""
    which: Which = "even"
    """The first ones, the last ones, or the last of each of so many parts, as even as they can be."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UsageError(f"the count of layers is {self.count}; give at least 1, or 0 for all")
        if self.which not in get_args(Which):
            raise UsageError(f"which of layers is {self.which!r}; give one of {', '.join(get_args(Which))}")

    def kept(self, layers: Sequence[int]) -> Sequence[int]:
        whole = len(layers)
        if self.count > whole:
            raise UsageError(f"the count of layers is {self.count} and the backbone has {whole}; give fewer")
        count = self.count or whole
        if self.which == "even":
            return [layers[whole * part // count - 1] for part in range(1, count + 1)]
        return layers[:count] if self.which == "first" else layers[-count:]

    def weakest(self) -> Layers:
        return replace(self, count=0, revealed=False)
