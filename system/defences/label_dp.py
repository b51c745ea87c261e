"""Randomised response on labels, once a sample (Warner 1965; label privacy: Ghazi et al. 2021, arXiv 2102.06062)."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1

import torch

from ..errors import UsageError
from .defence import Budget, Defence, Part

LARGEST = 100.0
"""Epsilon above which no label is ever redrawn, in any number that a machine holds."""
WEAKEST = 20.0


@dataclass(frozen=True)
class LabelDP(Defence):
    """A label stays with probability e^epsilon / (e^epsilon + K - 1), else it becomes another one, uniformly."""

    name = "label-dp"
    title = "labels randomised once"
    source = "randomised response, Warner 1965; arXiv 2102.06062, section 3"
    part = Part.LABELS
    keyed = False

    epsilon: float = 2.0

    def __post_init__(self) -> None:
        check_epsilon("label-dp", self.epsilon, LARGEST)

    def relabel(self, labels: torch.Tensor, classes: int, generator: torch.Generator) -> torch.Tensor:
        redrawn = torch.rand(len(labels), generator=generator, dtype=torch.float64) < self.redrawn(classes)
        uniform = torch.randint(classes, (len(labels),), generator=generator)
        return torch.where(redrawn, uniform, labels)

    def redrawn(self, classes: int) -> float:
        """How often a label is drawn anew, uniformly over all K: over the others, that is as often as stated above."""
        return classes / (classes + expm1(self.epsilon))

    def budget(self, classes: int, releases: int = 1) -> Budget:
        # whatever is sent of a sample, its label was drawn once
        return Budget(self.epsilon, 0.0, "label")

    def weakest(self) -> LabelDP:
        return LabelDP(epsilon=max(self.epsilon, WEAKEST))


def check_epsilon(name: str, epsilon: float, largest: float) -> None:
    """Raise UsageError unless it is positive and at most the largest."""
    if not epsilon > 0:
        raise UsageError(f"the epsilon of {name} is {epsilon}; give a positive number")
    if not epsilon <= largest:
        raise UsageError(f"the epsilon of {name} is {epsilon:g}, which protects nothing; give at most {largest:g}")
