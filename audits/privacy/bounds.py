"""Lower bounds on privacy loss from counts of guesses, each holding with the confidence of an audit.

Two-sided tests on pairs give `mu_at_least` (for Gaussian noise, whose trade-off is known: Dong, Roth and Su 2019, arXiv
1905.02383, section 2) and `epsilon_at_least` (for whatever promises (epsilon, delta)); guesses on many canaries of one
run give `one_run_epsilon` (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846, theorem 5.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv, expit, ndtri
from scipy.stats import binom

CONFIDENCE = 0.9975
ERROR = 1 - CONFIDENCE
LARGEST_EPSILON = 100.0
TIED = 1e-6
"""Of the largest score: what rounding may do to scores that are one."""

Numbers = NDArray[numpy.float64]


class Errors(NamedTuple):
    """What guesses of a coin got wrong, as numbers or as arrays over thresholds."""

    false_positives: Numbers
    negatives: Numbers
    false_negatives: Numbers
    positives: Numbers


Bound = Callable[[Errors], Numbers]
"""A lower bound from errors."""


def highest_share(hits: Numbers, rows: Numbers, error: float) -> Numbers:
    """The upper end of an exact one-sided interval (Clopper and Pearson 1934)."""
    inside = betaincinv(hits + 1, numpy.maximum(rows - hits, 1), 1 - error)
    return numpy.where(hits < rows, inside, 1.0)


def _shares(errors: Errors) -> tuple[Numbers, Numbers]:
    """Upper ends of both rates of error, which hold together."""
    false_positive = highest_share(errors.false_positives, errors.negatives, ERROR / 2)
    return false_positive, highest_share(errors.false_negatives, errors.positives, ERROR / 2)


def mu_at_least(errors: Errors) -> Numbers:
    """By how many standard deviations two outputs under Gaussian noise lie apart, at least."""
    false_positive, false_negative = _shares(errors)
    return numpy.maximum(-ndtri(false_positive) - ndtri(false_negative), 0.0)


def epsilon_at_least(errors: Errors, delta: float) -> Numbers:
    """The epsilon that no mechanism with these errors stays below at a delta."""
    shares = _shares(errors)
    with numpy.errstate(divide="ignore"):
        ends = [numpy.log(numpy.maximum(1 - a - delta, 0) / b) for a, b in (shares, shares[::-1])]
    return numpy.maximum(numpy.maximum(*ends), 0.0)


def at_least(scores: Numbers, coins: NDArray[numpy.bool_], bound: Bound) -> float:
    """The bound on the second half of scores (n,), at the threshold that is best on the first half.

    Higher scores speak for a coin that is true.
    """
    half = len(scores) // 2
    first, sides = scores[:half], coins[:half]
    order = numpy.argsort(first)
    ends = numpy.concatenate([[-numpy.inf], first[order], [numpy.inf]])
    apart = numpy.diff(ends) > TIED * numpy.abs(first).max()
    # a cut at k guesses all but the k smallest to be true
    below = numpy.concatenate([[0], numpy.cumsum(sides[order])])
    positives = numpy.full(half + 1, sides.sum())
    negatives = half - positives
    found = bound(Errors(negatives - (numpy.arange(half + 1) - below), negatives, below, positives))
    cut = int(numpy.argmax(numpy.where(apart, found, -1.0)))
    return float(bound(_errors(scores[half:] > (ends[cut] + ends[cut + 1]) / 2, coins[half:])))


def at_best(coins: NDArray[numpy.bool_], bound: Bound) -> float:
    """What `at_least` could be at most: the bound if no guess on the second half were wrong."""
    counted = coins[len(coins) // 2 :]
    return float(bound(_errors(counted, counted)))


def _errors(guessed: NDArray[numpy.bool_], true: NDArray[numpy.bool_]) -> Errors:
    counts = ((guessed & ~true).sum(), (~true).sum(), (~guessed & true).sum(), true.sum())
    return Errors(*(numpy.asarray(one, dtype=numpy.float64) for one in counts))


def one_run_p_value(epsilon: float, delta: float, canaries: int, guesses: int, right: int) -> float:
    """How likely so many right guesses at least are of any mechanism that keeps (epsilon, delta).

    Each of the canaries was in the data by a coin of its own, and the guesses are on those chosen by their scores.
    """
    accuracy = float(expit(epsilon))
    likely = float(binom.sf(right - 1, guesses, accuracy))
    if right == 0 or delta == 0:
        return min(likely, 1.0)
    fewer = numpy.arange(1, right + 1)
    near = binom.cdf(right - 1, guesses, accuracy) - binom.cdf(right - 1 - fewer, guesses, accuracy)
    return min(likely + 2 * canaries * delta * float((near / fewer).max()), 1.0)


def one_run_epsilon(delta: float, canaries: int, guesses: int, right: int) -> float:
    """The largest epsilon at which so many right guesses are too many to be believed; 0 where there is none."""

    def excess(epsilon: float) -> float:
        return one_run_p_value(epsilon, delta, canaries, guesses, right) - ERROR

    if excess(0.0) >= 0:
        return 0.0
    return float(brentq(excess, 0.0, LARGEST_EPSILON, xtol=1e-6))
