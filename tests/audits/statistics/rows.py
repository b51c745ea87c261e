"""Rows made by hand and at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from sidelight.audits.statistics import Measured, Values

ROWS = 300


def draws(seed: int = 0) -> numpy.random.Generator:
    return numpy.random.default_rng(seed)


def counts(successes: int, rows: int) -> Values:
    return numpy.array([1.0] * successes + [0.0] * (rows - successes))


def mixed(share: float, rows: int, generator: numpy.random.Generator) -> Values:
    return (generator.random(rows) < share).astype(numpy.float64)


def names(rows: int) -> tuple[str, ...]:
    return tuple(f"{at:08x}" for at in range(rows))


def measured(
    attack: Sequence[float] | Values,
    outsider: Mapping[str, Any] | None = None,
    rest: Mapping[str, Any] | None = None,
    blind: float | None = None,
) -> Measured:
    """Rows called 0, 1, 2, ..."""
    sides = [{name: numpy.asarray(rows, float) for name, rows in (side or {}).items()} for side in (outsider, rest)]
    return Measured(names(len(attack)), numpy.asarray(attack, float), sides[0], sides[1], blind)
