"""Intervals, advantage and verdict: every number that an audit states about a guess.

Rows are scored samples or documents, values lie in [0, 1], higher is better for the attacker. With one victim an
interval speaks of this victim's rows alone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[numpy.float64]
Verdict = Literal["leaks", "resists", "inconclusive"]

CONFIDENCE = 0.95
RESAMPLES = 2000
LEAK = 0.05
"""Smallest advantage that is called a leak."""


class Interval(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def interval(values: Values, generator: numpy.random.Generator) -> Interval:
    """Mean of rows (n,) with its 95 % interval.

    Counts take the exact interval (Clopper and Pearson 1934); fractions a BCa bootstrap over rows (Efron 1987), which
    is not defined for rows that are all alike: those take the exact interval as well, as if each were a count.
    """
    mean = float(values.mean())
    if _counts(values) or numpy.ptp(values) == 0:
        return Interval(mean, *_exact(values))
    found = stats.bootstrap(
        (values,), numpy.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=generator
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def advantage(attack: Values, blind: Values, generator: numpy.random.Generator) -> Interval | None:
    """(attack - blind) / (1 - blind) of the same rows, with a paired bootstrap interval; None where blind is 1.

    Where the attack's rows are all alike the bootstrap has nothing to resample, so the ends come from the two exact
    or bootstrap intervals: wider, never narrower.
    """
    if blind.mean() == 1:
        return None
    value = _advantage(float(attack.mean()), float(blind.mean()))
    if numpy.ptp(attack) == 0:
        ours, theirs = interval(attack, generator), interval(blind, generator)
        low = _advantage(ours.low, min(theirs.high, 1 - 1e-9))
        return Interval(value, min(low, value), max(_advantage(ours.high, theirs.low), value))
    rows = generator.integers(len(attack), size=(RESAMPLES, len(attack)))
    ours_means, their_means = attack[rows].mean(1), blind[rows].mean(1)
    kept = their_means < 1
    draws = (ours_means[kept] - their_means[kept]) / (1 - their_means[kept])
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = numpy.percentile(draws, [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def verdict(found: Interval, controlled: bool) -> Verdict:
    """`leaks` above the smallest leak; `resists` below it, where a control showed that the attack can work."""
    if found.low > LEAK:
        return "leaks"
    if found.high <= LEAK and controlled:
        return "resists"
    return "inconclusive"


def best_of(candidates: dict[str, Values], half: NDArray[numpy.bool_]) -> tuple[Values, str]:
    """The best candidate, chosen for each half of the rows on the other half: (n,), and the names chosen."""
    on_second = max(candidates, key=lambda name: float(candidates[name][~half].mean()) if (~half).any() else 0.0)
    on_first = max(candidates, key=lambda name: float(candidates[name][half].mean()) if half.any() else 0.0)
    values = numpy.where(half, candidates[on_second], candidates[on_first])
    return values, on_first if on_first == on_second else f"{on_first}, {on_second}"


def _advantage(attack: float, blind: float) -> float:
    return (attack - blind) / (1 - blind)


def _counts(values: Values) -> bool:
    return bool(numpy.isin(values, (0.0, 1.0)).all())


def _exact(values: Values) -> tuple[float, float]:
    successes = int(numpy.floor(values.sum() + 1e-9))
    found = stats.binomtest(successes, len(values)).proportion_ci(CONFIDENCE, method="exact")
    return float(min(found.low, values.mean())), float(max(found.high, values.mean()))


def exact_count(metric: str, hits: list[bool]) -> dict[str, float | int | str]:
    """A share of rows with its exact interval, as results store it."""
    values = numpy.array(hits, dtype=numpy.float64)
    low, high = _exact(values)
    return {"metric": metric, "value": float(values.mean()), "low": low, "high": high, "n": len(values)}
