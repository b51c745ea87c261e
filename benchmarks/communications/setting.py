"""What traffic is derived for: a shape, a data set in numbers, and how it is trained on."""

from __future__ import annotations

from dataclasses import dataclass

from ...system.errors import UsageError
from .shapes import Shape


@dataclass(frozen=True)
class Setting:
    """Sizes by which a protocol's traffic is known; every text has as many positions, every device as many rows."""

    shape: Shape
    samples: int = 10_000
    """n, of all devices."""
    epochs: int = 3
    """E"""
    batch: int = 16
    """B, samples of a message."""
    positions: int = 128
    """T, of a text, special tokens included."""
    classes: int = 20
    """K"""
    rank: int = 16
    """r, of a side network's bottleneck and of low-rank updates."""
    precision: str = "fp16"
    """Of activations, differences and gradients."""
    devices: int = 1
    """N"""
    trainable: bool = True
    """Whether a device's part is trained below a cut."""
    every: int = 0
    """Batches of a device between two averages; 0 for a pass over its rows."""
    entries: int = 64
    """k, of a difference over the vocabulary."""

    def __post_init__(self) -> None:
        if self.samples % self.devices:
            raise UsageError(f"{self.samples} samples are not shared evenly by {self.devices} devices; give a multiple")

    @property
    def cut(self) -> int:
        """Blocks on a device."""
        return max(self.shape.blocks // 3, 1)

    @property
    def own(self) -> int:
        """Rows of a device."""
        return self.samples // self.devices

    @property
    def steps(self) -> int:
        """Batches of a device's pass over its rows."""
        return -(-self.own // self.batch)

    @property
    def rounds(self) -> int:
        """Averages."""
        return -(-self.epochs * self.steps // self.every) if self.every else self.epochs
