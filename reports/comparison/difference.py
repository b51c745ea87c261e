"""The difference of two estimates from their own intervals, and whether chance makes as much.

Each estimate has a 95 % interval of its own kind: exact for counts, bootstrapped for texts, t over victims. Their
distances to the estimates are squared and added on the side that they face (Zou and Donner 2008, doi:10.1002/sim.3095;
with Wilson's intervals of two proportions this is method 10 of Newcombe 1998). It holds for two independent estimates,
and is careful where both rest on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from statistics import NormalDist
from typing import NamedTuple

from ..stored.records import Estimate

NORMAL = NormalDist()
REACH = NORMAL.inv_cdf(0.975)
"""Standard errors in half a 95 % interval."""


class Difference(NamedTuple):
    """The second estimate less the first."""

    value: float
    low: float
    high: float
    p: float
    """Of no difference, two-sided."""


def difference(first: Estimate, second: Estimate) -> Difference | None:
    """None where either has no value or no interval: what is not known to be certain changes nothing."""
    ends = (first.value, first.low, first.high, second.value, second.low, second.high)
    if any(end is None for end in ends):
        return None
    a, a_low, a_high, b, b_low, b_high = (float(end) for end in ends if end is not None)
    value = b - a
    below, above = hypot(b - b_low, a_high - a), hypot(b_high - b, a - a_low)
    return Difference(value, value - below, value + above, _p(value, below if value > 0 else above))


def _p(value: float, half: float) -> float:
    """Of the side that faces no difference."""
    if value == 0:
        return 1.0
    return 0.0 if half <= 0 else 2 * (1 - NORMAL.cdf(abs(value) * REACH / half))


def holm(p: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm 1979), in the order given."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=lambda one: p[one])):
        largest = max(largest, min(1.0, p[at] * (len(p) - rank)))
        adjusted[at] = largest
    return adjusted
