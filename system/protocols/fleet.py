"""Several devices: how many there are, and how the rows are dealt to them.

Shapes: D devices, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data import Sample
from ..errors import UsageError
from ..federation import Drawn
from ..message import Party
from ..randomness import Streams
from ..roles import device_name

Owners = NDArray[np.int64]
"""Of each row, its device's number."""


@dataclass(frozen=True)
class Fleet:
    """Devices with rows of their own."""

    devices: int = 1
    alpha: float = 0.0
    """Concentration of the Dirichlet shares by which each class is dealt out (arXiv 2102.02079, label distribution
    skew); the smaller, the fewer classes a device has. 0 deals evenly."""

    participation: float = 1.0
    """Share of the devices that take part in a round of a protocol with averages, drawn anew for each round."""

    def __post_init__(self) -> None:
        if not 0 < self.participation <= 1:
            raise UsageError(f"participation is {self.participation}; give a share above 0, at most 1")
        if self.devices < 1:
            raise UsageError(f"devices is {self.devices}; give at least 1")
        if not 0 <= self.alpha < float("inf"):
            raise UsageError(f"alpha is {self.alpha}; give a concentration above 0, or 0 to deal evenly")

    def deal(self, samples: Sequence[Sample], streams: Streams) -> dict[Party, tuple[Sample, ...]]:
        """Each device's rows, at least one; raises UsageError where there are fewer rows than devices."""
        if len(samples) < self.devices:
            raise UsageError(f"devices is {self.devices} and there are {len(samples)} rows; give fewer devices")
        generator = streams.numpy("fleet")
        owners = self._skewed(samples, generator) if self.alpha else self._even(samples, generator)
        for device in range(self.devices):
            if not (owners == device).any():  # the richest gives one away
                richest = np.bincount(owners, minlength=self.devices).argmax()
                owners[np.flatnonzero(owners == richest)[0]] = device
        return {
            device_name(device): tuple(samples[i] for i in np.flatnonzero(owners == device).tolist())
            for device in range(self.devices)
        }

    @property
    def parties(self) -> tuple[Party, ...]:
        """The devices' names."""
        return tuple(device_name(device) for device in range(self.devices))

    def check(self, every: int | None) -> None:
        """UsageError where participation has no meaning: `every` as averages have it, None for no averages."""
        if self.participation < 1 and every != 0:
            raise UsageError(
                f"participation is {self.participation}; give 1, or a protocol with averages and every = 0, by which "
                "all have as many rounds"
            )

    def rounds(self, parties: Iterable[Party], streams: Streams) -> Drawn:
        """Who takes part in a round, by the round's number from 0: at least one."""
        names = tuple(parties)
        count = max(round(self.participation * len(names)), 1)

        def drawn(round_: int) -> frozenset[Party]:
            order = streams.numpy(f"fleet: round {round_}").permutation(len(names))
            return frozenset(names[at] for at in order[:count])

        return drawn

    def _even(self, samples: Sequence[Sample], generator: np.random.Generator) -> Owners:
        return generator.permutation(np.arange(len(samples)) % self.devices)

    def _skewed(self, samples: Sequence[Sample], generator: np.random.Generator) -> Owners:
        """Each class's rows by Dirichlet shares of its own."""
        owners = np.zeros(len(samples), dtype=np.int64)
        for label in sorted({sample.label for sample in samples}):
            rows = generator.permutation([i for i, sample in enumerate(samples) if sample.label == label])
            shares = generator.dirichlet([self.alpha] * self.devices)
            ends = np.round(shares.cumsum() * len(rows)).astype(np.int64)
            for device, part in enumerate(np.split(rows, ends[:-1])):
                owners[part] = device
        return owners
