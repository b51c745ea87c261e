"""What the noises of a run promise together for one example: that its text and its label might as well be others.

The activations of L layers and the difference are one release with Gaussian noise of different sizes:

    mu^2 = sum over layers and difference of (sensitivity / standard deviation)^2

and epsilon follows from mu exactly (Balle and Wang 2018, theorem 8). Every sample is sent once. What carries the
example without noise makes epsilon infinite: bare activations, or a bare difference, which holds the backbone's output.
So do samples that the device makes up from pieces of other samples' texts. Rounding, secret maps and layers that are
left away act on what was noised, or before it, and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

from ..gaussian import epsilon_of
from .defence import Budget, Defence, Loss, Part, Targets


def example_budget(defences: Sequence[Defence], targets: Targets, layers: int) -> Budget | None:
    """The promise for one example; None where epsilon is infinite."""
    if any(defence.part is Part.SAMPLES for defence in defences):
        return None
    activations = _least([defence.activations_loss(layers) for defence in defences])
    difference = _least([defence.difference_loss(targets) for defence in defences])
    if activations is None or difference is None:
        return None
    delta = max(activations.delta, difference.delta)
    return Budget(epsilon_of(hypot(activations.mu, difference.mu), delta), delta, "example")


def _least(found: Sequence[Loss | None]) -> Loss | None:
    """The strongest noise of several; None where there is none."""
    return min((loss for loss in found if loss is not None), key=lambda loss: loss.mu, default=None)
