"""Intervals of 95 %: of a share and of a mean on one victim's rows, and of a mean over victims."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from scipy import special

Values = NDArray[numpy.float64]
"""Scores of one victim's rows, (n,), in [0, 1]."""

CONFIDENCE = 0.95
RESAMPLES = 2000
TAIL = (1 - CONFIDENCE) / 2


class Interval(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def interval(values: Values, generator: numpy.random.Generator) -> Interval:
    """Mean of one victim's rows (n,) with its interval, conditional on this victim.

    Counts take the exact interval. Fractions take a studentised bootstrap over rows (Efron and Tibshirani 1993, section
    12.5), never wider than the exact interval of as many hits: of all scores in [0, 1] with a given mean, counts vary
    most. Rows that are all alike leave nothing to resample and take the exact interval whole.

    The BCa bootstrap (Efron 1987) covers 92 % where 50 rows are mostly 1, the studentised one 94 to 96 % there and on
    all other skewed scores tried; rows with hardly any spread are covered more often, as counts are.
    """
    mean = float(values.mean())
    low, high = clopper_pearson(float(values.sum()), len(values))
    if not (counts(values) or alike(values)):
        below, above = _studentised(values, generator)
        low, high = max(low, below), min(high, above)
    return Interval(mean, min(low, mean), max(high, mean))


def clopper_pearson(hits: float, rows: int) -> tuple[float, float]:
    """The exact interval of a share (Clopper and Pearson 1934), as quantiles of beta distributions.

    These are defined for fractional hits as well, the sum of scores in [0, 1].
    """
    hits = min(hits, rows)  # a sum of rounded scores may be larger by the last digit
    low = special.betaincinv(hits, rows - hits + 1, TAIL) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, rows - hits, 1 - TAIL) if hits < rows else 1.0
    return float(low), float(high)


def t_interval(values: Sequence[float] | Values, lowest: float = -math.inf, highest: float = math.inf) -> Interval:
    """Mean of one value for each victim with Student's interval, ends clipped to the possible range.

    It has no width where all values are alike; a caller that has the rows asks them instead (evidence.state).
    """
    own = numpy.asarray(values, dtype=numpy.float64)
    if len(own) < 2:
        raise ValueError(f"an interval over victims needs at least two of them, not {len(own)}")
    mean = float(own.mean())
    half = float(special.stdtrit(len(own) - 1, 1 - TAIL) * own.std(ddof=1) / math.sqrt(len(own)))
    return Interval(mean, max(mean - half, lowest), min(mean + half, highest))


def counts(values: Values) -> bool:
    """Whether every row is right or wrong."""
    return bool(((values == 0) | (values == 1)).all())


def alike(values: Values) -> bool:
    """Whether all values are the same, up to rounding."""
    return bool(numpy.ptp(values) < 1e-12)


def exact_count(metric: str, hits: Sequence[bool]) -> dict[str, float | int | str]:
    """A share of rows with its exact interval, as results store it."""
    if not hits:
        raise ValueError(f"{metric} needs at least one row")
    low, high = clopper_pearson(sum(hits), len(hits))
    return {"metric": metric, "value": sum(hits) / len(hits), "low": low, "high": high, "n": len(hits)}


def _studentised(values: Values, generator: numpy.random.Generator) -> tuple[float, float]:
    """Ends from the resamples' means in units of their own spread, which follows skewed rows better than BCa.

    A resample of rows all alike counts as infinitely far away.
    """
    drawn = values[generator.integers(len(values), size=(RESAMPLES, len(values)), dtype=numpy.int32)]
    mean, spread = values.mean(), values.std()
    distances = (drawn.mean(1) - mean) / numpy.maximum(drawn.std(1), 1e-12)
    low, high = numpy.percentile(distances, [100 * TAIL, 100 * (1 - TAIL)])
    return float(mean - high * spread), float(mean - low * spread)
