"""The advantage of an attack over its twin on the same rows: its interval, and the p-value of "at most LEAK".

Notation as in the package: rows (a, b), d = (mean a - mean b) / (1 - mean b). As 1 - mean b is positive,

    d > LEAK   if and only if   mean z > 0   with   z = a - (1 - LEAK) b - LEAK,

so a claim of a leak is a test of one mean of paired rows, without a ratio.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy
from scipy import special

from .intervals import RESAMPLES, TAIL, Interval, Values, alike, counts

LEAK = 0.05
"""Smallest advantage that is called a leak."""

CORNER_OF_COUNTS = 1.0
CORNER_OF_FRACTIONS = 0.25
"""What a pseudo-row weighs beside a row.

Agresti and Min (2005) add half a row to each cell of a table of matched pairs, so that no variance is zero and few
discordant rows prove nothing. By simulation a whole row is right for counts, and a quarter for fractions, which spread
less: bare rows cover 73 to 92 % where the attack seldom differs from its twin or is nearly always right.
"""


class Advantage(NamedTuple):
    """An advantage with its 95 % interval and the one-sided p of "the true advantage is at most LEAK"."""

    value: float
    low: float
    high: float
    p: float


def advantage(attack: Values, blind: Values, generator: numpy.random.Generator) -> Advantage | None:
    """Of two guesses' scores of the same rows, each (n,), n > 0; None where the twin is always right.

    Percentiles of a paired bootstrap (Efron and Tibshirani 1993, section 13.3) of the rows and their corners, expanded
    for few rows (Hesterberg 2015, section 5.2).
    """
    if blind.mean() == 1:
        return None
    value = share_of_open(float(attack.mean()), float(blind.mean()))
    low, high = _resampled(attack, blind, generator)
    return Advantage(value, min(low, value), max(high, value), p_value(attack, blind))


def advantage_over_chance(attack: Values, chance: float, found: Interval) -> Advantage:
    """Where a twin's score is known exactly: the interval of the attack's mean, carried over; `chance` < 1.

    p is exact binomial for counts, else as `p_value`.
    """
    value, low, high = (share_of_open(end, chance) for end in found)
    least = chance + LEAK * (1 - chance)
    if counts(attack):
        p = float(special.bdtrc(attack.sum() - 1, len(attack), least)) if attack.any() else 1.0
    else:
        ends, _ = _corners(attack, attack)
        p = _p_of_mean(attack - least, ends - least, CORNER_OF_FRACTIONS)
    return Advantage(value, low, high, p)


def share_of_open(attack: float, blind: float) -> float:
    """The share of what the twin leaves open that the attack gains; negative where the twin is better."""
    return (attack - blind) / (1 - blind)


def p_value(attack: Values, blind: Values) -> float:
    """One-sided p of "the true advantage is at most LEAK": a test of mean z > 0 on the rows and their corners."""
    return _p_of_mean(_contrast(attack, blind), _contrast(*_corners(attack, blind)), _weight(attack, blind))


def p_over_victims(advantages: Values) -> float:
    """The same where the victim is the unit: a one-sample t test of the victims' advantages, not all alike."""
    mean, error = advantages.mean() - LEAK, advantages.std(ddof=1) / math.sqrt(len(advantages))
    return float(special.stdtr(len(advantages) - 1, -mean / error))


def _contrast(attack: Values, blind: Values) -> Values:
    return attack - (1 - LEAK) * blind - LEAK


def _corners(attack: Values, blind: Values) -> tuple[Values, Values]:
    """Four pseudo-rows: each side at its lowest or highest score, at 0 or 1 where it has one score only."""
    (a, above), (b, top) = (
        (0.0, 1.0) if alike(side) else (float(side.min()), float(side.max())) for side in (attack, blind)
    )
    return numpy.array([a, a, above, above]), numpy.array([b, top, b, top])


def _weight(attack: Values, blind: Values) -> float:
    return CORNER_OF_COUNTS if counts(attack) and counts(blind) else CORNER_OF_FRACTIONS


def _p_of_mean(rows: Values, corners: Values, weight: float) -> float:
    """One-sided test of a mean above zero; exact far into the tail, as Holm's correction needs it.

    Student's t, or Hall's (1992) t corrected for skewness where that is smaller: an attack that gains a little on most
    rows and loses much on a few would else be called a leak too often.
    """
    values = numpy.append(rows, corners)
    weights = numpy.append(numpy.ones_like(rows), numpy.full_like(corners, weight))
    n = weights.sum()
    mean = weights @ values / n
    spread = weights @ (values - mean) ** 2 / n
    skew = weights @ (values - mean) ** 3 / n / spread**1.5
    t = mean / math.sqrt(spread / (n - 1))
    corrected = t + skew * t**2 / (3 * math.sqrt(n)) + skew**2 * t**3 / (27 * n) + skew / (6 * math.sqrt(n))
    return float(special.stdtr(n - 1, -min(t, corrected)))


def _resampled(attack: Values, blind: Values, generator: numpy.random.Generator) -> tuple[float, float]:
    """Ends of the advantage; a resample whose twin is always right has none and is left out."""
    of_counts = _weight(attack, blind) == CORNER_OF_COUNTS
    n = len(attack) + round(4 * _weight(attack, blind))
    ours, theirs = (_of_counts if of_counts else _of_fractions)(attack, blind, n, generator)
    open_ = theirs < 1 - 1e-12
    tail = 100 * special.ndtr(math.sqrt(n / (n - 1)) * special.stdtrit(n - 1, TAIL))
    low, high = numpy.percentile((ours[open_] - theirs[open_]) / (1 - theirs[open_]), [tail, 100 - tail])
    return float(low), float(high)


def _of_counts(attack: Values, blind: Values, n: int, generator: numpy.random.Generator) -> tuple[Values, Values]:
    """Means of n rows drawn anew, (RESAMPLES,) each: only how often each of the four pairs is drawn matters."""
    cells = numpy.bincount((2 * attack + blind).astype(numpy.int64), minlength=4) + CORNER_OF_COUNTS
    drawn = generator.multinomial(n, cells / n, size=RESAMPLES) / n
    return drawn[:, 2] + drawn[:, 3], drawn[:, 1] + drawn[:, 3]


def _of_fractions(attack: Values, blind: Values, n: int, generator: numpy.random.Generator) -> tuple[Values, Values]:
    """The same for any rows: each is laid in the urn four times and each corner once, so that this weighs a quarter."""
    ours, theirs = (
        numpy.append(numpy.repeat(side, 4), ends)
        for side, ends in zip((attack, blind), _corners(attack, blind), strict=True)
    )
    drawn = generator.integers(len(ours), size=(RESAMPLES, n), dtype=numpy.int32)
    return ours[drawn].mean(1), theirs[drawn].mean(1)
