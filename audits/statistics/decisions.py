"""From intervals and p-values to verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy

from .advantage import LEAK, Advantage
from .intervals import TAIL, Interval

Verdict = Literal["leaks", "resists", "inconclusive"]

LEVEL = TAIL
"""Largest corrected one-sided p of a leak: 0.025, as the lower end of a 95 % interval has it."""

CONTROL = 0.5
"""What a control's lower bound must reach."""


def holm(p: Sequence[float]) -> list[float]:
    """Corrected p-values of a family of claims, in the same order (Holm 1979).

    Rejecting those at or below a level keeps the chance of any false rejection at or below that level, however the
    claims depend on each other.
    """
    given = numpy.asarray(p, dtype=numpy.float64)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError("p-values must lie in [0, 1]")
    order = numpy.argsort(given, kind="stable")
    steps = (len(given) - numpy.arange(len(given))) * given[order]
    corrected = numpy.empty_like(given)
    corrected[order] = numpy.minimum(numpy.maximum.accumulate(steps), 1)
    return [float(value) for value in corrected]


def verdict(found: Advantage, adjusted: float, controlled: bool) -> Verdict:
    """`leaks`: above LEAK, by its lower end and by its p corrected over the family.

    `resists`: the upper end is at most LEAK, and controls showed that the attack can work. Else `inconclusive`.
    """
    if not 0 <= adjusted <= 1:
        raise ValueError(f"a corrected p must lie in [0, 1], not be {adjusted}")
    if found.low > LEAK and adjusted <= LEVEL:
        return "leaks"
    if found.high <= LEAK and controlled:
        return "resists"
    return "inconclusive"


def succeeded(control: Interval | Advantage) -> bool:
    """Whether a control showed that the attack works where nothing stops it."""
    return control.low >= CONTROL
