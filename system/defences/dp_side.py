"""DP-SGD on the server's side network: for those who receive it, not for those who see what crosses.

The server draws each batch by independent coins (Poisson sampling), clips every example's gradient, and adds Gaussian
noise to their sum. The noise is what Opacus's PRV accountant asks for over the whole run; at a `ratio` given instead,
epsilon is that of as many steps on all rows, which sampling can only lower. The number of rows is public.

Neighbouring data differ by one example more or less. Examples made up of other examples (`decoy`) break that, and
nothing is promised beside them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, sqrt

from ..errors import UsageError
from ..gaussian import epsilon_of
from .defence import Budget, Defence, Part, PrivateSteps
from .label_dp import check_epsilon
from .noise import check_delta, check_strength

LARGEST = 20.0
WEAKEST = 1e-3
RECEIVERS = "those who receive the side network, not those who see what crosses"


@dataclass(frozen=True)
class DPSide(Defence):
    """Opacus's DP-SGD, with the optimiser, batch and epochs of the protocol's side training."""

    name = "dp-side"
    title = "the side network trained with DP-SGD"
    source = "DP-SGD, Abadi et al. 2016, arXiv 1607.00133; PRV accountant, Gopi et al. 2021, arXiv 2106.02848; Opacus"
    part = Part.TRAINING
    keyed = False
    evaded = "attacks on membership here learn from side networks that were trained without it"

    epsilon: float = 8.0
    """Of one example, over the whole run."""
    delta: float = 1e-5
    clip: float = 1.0
    """The largest length of one example's gradient over all weights."""
    ratio: float = 0.0
    """The noise's standard deviation over the clip, in place of what epsilon asks for; 0 for epsilon's."""

    def __post_init__(self) -> None:
        check_epsilon(self.name, self.epsilon, LARGEST)
        check_delta(self.name, self.delta)
        check_strength(self.name, self.clip, self.ratio)

    def private_steps(self, rows: int, batch: int, epochs: int) -> PrivateSteps:
        rate = min(1.0, batch / rows)
        an_epoch = ceil(rows / batch)
        ratio = self.ratio or noise_over_clip(self.epsilon, self.delta, rate, an_epoch * max(epochs, 1))
        epsilon = epsilon_of(sqrt(an_epoch * max(epochs, 1)) / ratio, self.delta) if self.ratio else self.epsilon
        promised = Budget(epsilon, self.delta, "example", RECEIVERS)
        return PrivateSteps(rate, rate * rows, an_epoch, epochs, self.clip, ratio, promised)

    def weakest(self) -> DPSide:
        # the ratio takes the place of what epsilon asks for
        return replace(self, epsilon=type(self).epsilon, ratio=min(self.ratio or WEAKEST, WEAKEST), revealed=False)


@lru_cache
def noise_over_clip(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The noise multiplier that keeps (epsilon, delta) over steps on Poisson samples at a rate; within 0.01 of epsilon.

    Raises UsageError where no noise does.
    """
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():  # both are of a range that the accountant looks at, which need not be tight
        warnings.filterwarnings("ignore", message="Optimal order is", category=UserWarning)
        warnings.filterwarnings("ignore", message="divide by zero encountered in log", category=RuntimeWarning)
        try:
            found: float = get_noise_multiplier(
                target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant="prv"
            )
        except ValueError:
            raise UsageError(f"no noise gives dp-side epsilon {epsilon:g} over {steps} steps; give more") from None
    return found
