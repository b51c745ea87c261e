"""Gaussian noise on the difference, once a sample, calibrated to what one label can change.

Noise comes before any secret transform or scale, which are then post-processing. The backbone's share is a function of
the text alone and crosses with the activations, so the promise is about the label, given the text.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import UsageError
from ..gaussian import standard_deviation
from .defence import Budget, Defence, Part
from .label_dp import check_epsilon

LARGEST = 10_000.0
LARGEST_DELTA = 1e-3
"""A promise that fails once in a thousand samples is none."""
WEAKEST = 1000.0


@dataclass(frozen=True)
class Noise(Defence):
    """The analytic Gaussian mechanism; every sample is sent once, so nothing composes."""

    name = "noise"
    title = "Gaussian noise on the difference"
    source = "analytic Gaussian mechanism, Balle and Wang 2018, arXiv 1805.06530, theorem 8"
    part = Part.DIFFERENCE
    keyed = False

    epsilon: float = 4.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        check_epsilon("noise", self.epsilon, LARGEST)
        if not 0 < self.delta <= LARGEST_DELTA:
            raise UsageError(f"the delta of noise is {self.delta}; give a number above 0 and at most {LARGEST_DELTA}")

    def noise(self, difference: torch.Tensor, sensitivity: float, generator: torch.Generator) -> torch.Tensor:
        spread = standard_deviation(sensitivity, self.epsilon, self.delta)
        return difference + spread * torch.randn(difference.shape, generator=generator)

    def budget(self, classes: int) -> Budget:
        return Budget(self.epsilon, self.delta, "label")

    def weakest(self) -> Noise:
        return Noise(epsilon=max(self.epsilon, WEAKEST), delta=self.delta)
