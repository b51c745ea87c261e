"""The Gaussian mechanism, exactly: which noise keeps which (epsilon, delta) (Balle and Wang 2018, arXiv 1805.06530)."""

from __future__ import annotations

from math import exp, log

from scipy.optimize import brentq
from scipy.special import log_ndtr


def delta_of(sensitivity: float, deviation: float, epsilon: float) -> float:
    """The smallest delta that noise of a standard deviation keeps at an epsilon: theorem 8, equation 6."""
    a, b = sensitivity / (2 * deviation), epsilon * deviation / sensitivity
    return exp(log_ndtr(a - b)) - exp(epsilon + log_ndtr(-a - b))


def standard_deviation(sensitivity: float, epsilon: float, delta: float) -> float:
    """The least standard deviation that keeps (epsilon, delta) for outputs at most `sensitivity` apart."""
    if sensitivity == 0:
        return 0.0

    def excess(logarithm: float) -> float:
        return delta_of(1.0, exp(logarithm), epsilon) - delta

    found: float = brentq(excess, log(1e-6), log(1e9), xtol=1e-12)
    return sensitivity * exp(found)


def epsilon_of(mu: float, delta: float) -> float:
    """The smallest epsilon at a delta of noise whose standard deviation is the sensitivity over mu."""
    if delta_of(mu, 1.0, 0.0) <= delta:
        return 0.0
    # at this epsilon the first term alone is already below delta
    highest = mu * mu / 2 + mu * 40
    found: float = brentq(lambda epsilon: delta_of(mu, 1.0, epsilon) - delta, 0.0, highest, xtol=1e-9)
    return found
