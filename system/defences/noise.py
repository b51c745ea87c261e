"""Gaussian noise on the difference, once a sample, calibrated to what one label can change.

Noise comes before any secret transform or scale, which are then post-processing. The backbone's share is a function of
the text alone and crosses with the activations, so the promise is about the label, given the text. Where activations
are noised as well, there is one about the example: see accounting.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt

import torch

from ..clipping import clipped
from ..errors import UsageError
from ..gaussian import epsilon_of, standard_deviation
from .defence import Budget, Defence, Loss, Part, Targets
from .label_dp import check_epsilon

LARGEST = 10_000.0
LARGEST_DELTA = 1e-3
"""A promise that fails once in a thousand samples is none."""
WEAKEST = 1000.0
LEAST_RATIO, LARGEST_RATIO = 1e-6, 1e6


@dataclass(frozen=True)
class Noise(Defence):
    """The analytic Gaussian mechanism; noise is drawn once a sample, so nothing composes."""

    name = "noise"
    title = "Gaussian noise on the difference"
    source = "analytic Gaussian mechanism, Balle and Wang 2018, arXiv 1805.06530, theorem 8"
    part = Part.DIFFERENCE
    keyed = False

    epsilon: float = 4.0
    delta: float = 1e-5
    clip: float = 0.0
    """The largest length of a difference; 0 leaves it, which bounds a logit difference of an example by nothing."""

    def __post_init__(self) -> None:
        check_epsilon("noise", self.epsilon, LARGEST)
        check_delta("noise", self.delta)
        if not 0 <= self.clip < inf:
            raise UsageError(f"the clip of noise is {self.clip}; give 0, which clips nothing, or a finite length")

    def noise(self, difference: torch.Tensor, sensitivity: float, generator: torch.Generator) -> torch.Tensor:
        return self.limited(difference) + self.deviation(sensitivity) * torch.randn(
            difference.shape, generator=generator
        )

    def limited(self, difference: torch.Tensor) -> torch.Tensor:
        """Differences (B, D) brought within the clip."""
        return clipped(difference, self.clip) if self.clip else difference

    def deviation(self, sensitivity: float) -> float:
        """The standard deviation of the noise on every value, for what one label can change without the clip."""
        return standard_deviation(min(sensitivity, self._farthest), self.epsilon, self.delta)

    def difference_loss(self, targets: Targets) -> Loss | None:
        """One-hot less softmax is at most sqrt(2) long, a logit difference as long as the clip."""
        farthest = min(self._farthest, 2 * sqrt(2) if targets.kind == "probability" else inf)
        deviation = self.deviation(targets.sensitivity)
        return Loss(farthest / deviation, self.delta) if deviation and farthest < inf else None

    @property
    def _farthest(self) -> float:
        """The largest distance of two clipped differences."""
        return 2 * self.clip or inf

    def budget(self, classes: int, releases: int = 1) -> Budget:
        if releases == 1:
            return Budget(self.epsilon, self.delta, "label")
        mu = sqrt(releases) / standard_deviation(1.0, self.epsilon, self.delta)
        return Budget(epsilon_of(mu, self.delta), self.delta, "label")

    def weakest(self) -> Noise:
        return replace(self, epsilon=max(self.epsilon, WEAKEST), revealed=False)


def check_strength(name: str, clip: float, ratio: float) -> None:
    """Raise UsageError unless the clip is a length, and the noise's ratio to it is none or one that can be kept."""
    if not (clip > 0 and isfinite(clip)):
        raise UsageError(f"the clip of {name} is {clip}; give a finite length above 0")
    if ratio and not LEAST_RATIO <= ratio <= LARGEST_RATIO:
        raise UsageError(
            f"the ratio of {name} is {ratio}; give 0, which leaves it to epsilon, or {LEAST_RATIO:g} to "
            f"{LARGEST_RATIO:g}"
        )


def check_delta(name: str, delta: float) -> None:
    """Raise UsageError unless it is positive and small."""
    if not 0 < delta <= LARGEST_DELTA:
        raise UsageError(f"the delta of {name} is {delta}; give a number above 0 and at most {LARGEST_DELTA}")
