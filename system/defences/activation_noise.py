"""Gaussian noise on the activations of every layer, once a sample, calibrated to what one example can change.

Each layer's state is clipped to a length C, so that another example moves it by at most 2 C, and L layers together by
2 C sqrt(L). A side network brings its taps to unit variance, so that a clip below every length costs no more than one
above it, and needs less noise. Whether the example as a whole is protected depends on the difference, which contains
the backbone's output: without noise of its own it is not, whatever epsilon stands here (see accounting.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import torch

from ..clipping import clipped
from ..gaussian import standard_deviation
from .defence import Defence, Loss, Part
from .label_dp import check_epsilon
from .noise import check_delta, check_strength

LARGEST = 1e6
WEAKEST = 1e-3
"""Standard deviation over the clip: all 192 values of a state together move it by 1.4 % of its length."""


@dataclass(frozen=True)
class ActivationNoise(Defence):
    """Clipping, and the analytic Gaussian mechanism over all layers at once."""

    name = "activation-noise"
    title = "Gaussian noise on clipped activations"
    source = "analytic Gaussian mechanism, Balle and Wang 2018, arXiv 1805.06530, theorem 8"
    part = Part.ACTIVATIONS
    keyed = False

    epsilon: float = 8.0
    """Of one example's activations, all layers together."""
    delta: float = 1e-5
    clip: float = 1.0
    """The largest length of a layer's state."""
    ratio: float = 0.0
    """The noise's standard deviation over the clip, in place of what epsilon asks for; 0 for epsilon's."""

    def __post_init__(self) -> None:
        check_epsilon(self.name, self.epsilon, LARGEST)
        check_delta(self.name, self.delta)
        check_strength(self.name, self.clip, self.ratio)

    def bounded(self, states: torch.Tensor) -> torch.Tensor:
        return clipped(states, self.clip)

    def blurred(self, states: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return states + self.deviation(states.shape[1]) * torch.randn(states.shape, generator=generator)

    def deviation(self, layers: int) -> float:
        """The standard deviation of the noise on every value."""
        if self.ratio:
            return self.ratio * self.clip
        return standard_deviation(2 * self.clip * sqrt(layers), self.epsilon, self.delta)

    def activations_loss(self, layers: int) -> Loss:
        return Loss(2 * self.clip * sqrt(layers) / self.deviation(layers), self.delta)

    def weakest(self) -> ActivationNoise:
        # the ratio takes the place of what epsilon asks for
        return replace(self, epsilon=type(self).epsilon, ratio=min(self.ratio or WEAKEST, WEAKEST), revealed=False)
