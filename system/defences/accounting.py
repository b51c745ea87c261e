"""What the noises of a run promise together for one example: that its text and its label might as well be others.

The activations of L layers and the difference are one release with Gaussian noise of different sizes:

    mu^2 = sum over layers and difference of (sensitivity / standard deviation)^2

and epsilon follows from mu exactly (Balle and Wang 2018, theorem 8). A sample may be sent again: with the same bytes
for nothing, with other ones as another release, and mu grows with the root of their number. The account is of one run:
who runs again on the same samples releases them once more, and has to add that up. What carries the example
without noise makes epsilon infinite: bare activations, or a bare difference, which holds the backbone's output.
So do samples that the device makes up from pieces of other samples' texts. Rounding, secret maps and layers that are
left away act on what was noised, or before it, and change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import hypot, sqrt

import torch

from ..gaussian import epsilon_of
from .defence import Budget, Defence, Loss, Part, Targets


class Ledger:
    """What a device has released of each sample within a run, told apart by the bytes themselves."""

    def __init__(self) -> None:
        self._released: dict[str, set[bytes]] = {}

    def charge(self, sample_id: str, *tensors: torch.Tensor) -> None:
        """Note what is about to cross of a sample; the same again is free."""
        digest = hashlib.sha256(b"".join(one.contiguous().numpy().tobytes() for one in tensors)).digest()
        self._released.setdefault(sample_id, set()).add(digest)

    @property
    def releases(self) -> int:
        """Of the sample that was released most often; 1 where nothing was."""
        return max(map(len, self._released.values()), default=1)


def example_budget(defences: Sequence[Defence], targets: Targets, layers: int, releases: int = 1) -> Budget | None:
    """The promise for one example of which so much was released; None where epsilon is infinite."""
    if any(defence.part is Part.SAMPLES for defence in defences):
        return None
    activations = _least([defence.activations_loss(layers) for defence in defences])
    difference = _least([defence.difference_loss(targets) for defence in defences])
    if activations is None or difference is None:
        return None
    delta = max(activations.delta, difference.delta)
    mu = sqrt(releases) * hypot(activations.mu, difference.mu)
    return Budget(epsilon_of(mu, delta), delta, "example")


def _least(found: Sequence[Loss | None]) -> Loss | None:
    """The strongest noise of several; None where there is none."""
    return min((loss for loss in found if loss is not None), key=lambda loss: loss.mu, default=None)
