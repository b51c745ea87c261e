"""What a defence costs in utility: paired over the same test rows, with a verdict of non-inferiority.

Notation: a row is one test row of one victim, before and after; its scores are 1 where the model is right, else 0. The
loss is the mean before less the mean after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy

from .evidence import FEWEST_VICTIMS
from .intervals import Interval, Values, alike, clopper_pearson, t_interval

MARGIN = 0.02
"""Points of utility that a defence may cost."""
FEWEST_ROWS = 3000
"""Test rows of one victim from which they can show that a defence costs no more than the margin."""

Cost = Literal["within", "worse", "undecided"]
Pair = tuple[Values, Values]
"""A victim's rows before and after, (n,) each, in the same order."""


@dataclass(frozen=True)
class Loss:
    """A loss with its interval; without one where there are too few victims for it."""

    value: float
    low: float | None
    high: float | None
    n: int
    """Rows of all victims."""
    victims: int

    @property
    def verdict(self) -> Cost:
        """`within` the margin or `worse`, as far as the interval decides.

        That a loss is within two points takes many rows, or several victims.
        """
        if self.low is None or self.high is None:
            return "undecided"
        if self.low > MARGIN:
            return "worse"
        enough = self.n >= FEWEST_ROWS or self.victims >= FEWEST_VICTIMS
        return "within" if enough and self.high < MARGIN else "undecided"


def loss(victims: Sequence[Pair]) -> Loss:
    """Of one victim over its rows, of at least FEWEST_VICTIMS over the victims; in between the mean alone."""
    each = numpy.array([before.mean() - after.mean() for before, after in victims])
    n = sum(len(before) for before, _ in victims)
    low = high = None
    if len(victims) >= FEWEST_VICTIMS and not alike(each):
        _, low, high = t_interval(each, -1, 1)
    elif len(victims) == 1 or len(victims) >= FEWEST_VICTIMS:
        before, after = (numpy.concatenate(rows) for rows in zip(*victims, strict=True))
        _, low, high = paired(before, after)
    return Loss(float(each.mean()), low, high, n, len(victims))


def paired(before: Values, after: Values) -> Interval:
    """The loss of one victim's rows (n,), n > 0, with its interval.

    It is the share of rows lost less the share won. Their exact intervals are put together by the method of variance
    estimates recovery (Zou and Donner 2008, Statistics in Medicine 27), with the correlation of two
    cells of a multinomial. Wald's interval with pseudo-rows (Agresti and Min 2005) covers 86 % where two differing
    rows are expected; this covers at least 94 % by simulation on 50 to 3,000 rows.
    """
    rows = len(before)
    cells = [float(((one == 1) & (other == 0)).sum()) for one, other in ((before, after), (after, before))]
    (lost, lost_low, lost_high), (won, won_low, won_high) = ((k / rows, *clopper_pearson(k, rows)) for k in cells)
    together = math.sqrt(lost * won / ((1 - lost) * (1 - won))) if max(lost, won) < 1 else 0.0
    below = _joined(lost - lost_low, won_high - won, together)
    above = _joined(lost_high - lost, won - won_low, together)
    return Interval(lost - won, max(lost - won - below, -1.0), min(lost - won + above, 1.0))


def _joined(one: float, other: float, together: float) -> float:
    """Half an interval of a difference; `together` is the correlation of its parts, turned."""
    return math.sqrt(one**2 + other**2 + 2 * together * one * other)
