"""The power with which a cost grows: the slope of a line through logarithms (least squares), with its 95 % interval.

Repeats at a size are points of their own, so that the interval holds what the machine disturbs. A cost with a fixed
part has a smaller power at small sizes; the interval is that of one power over all, as if there were no such part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from ...system.errors import UsageError

LEVEL = 0.95
Point = tuple[float, float]
"""A size and a cost, both above 0."""


@dataclass(frozen=True)
class Exponent:
    """Of a power law."""

    value: float
    low: float
    high: float


def fitted(points: Sequence[Point]) -> Exponent:
    """Of at least three points of at least two sizes; UsageError of others."""
    if len(points) < 3 or len({size for size, _ in points}) < 2 or min(min(point) for point in points) <= 0:
        raise UsageError("a power is fitted to three points or more of two sizes or more, all above 0")
    sizes, costs = np.log(np.array(points, dtype=float)).T
    slope, constant = np.polyfit(sizes, costs, 1)
    left = costs - slope * sizes - constant
    error = np.sqrt((left @ left) / (len(points) - 2) / np.square(sizes - sizes.mean()).sum())
    reach = t.ppf((1 + LEVEL) / 2, len(points) - 2) * error
    return Exponent(float(slope), float(slope - reach), float(slope + reach))
