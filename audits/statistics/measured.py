"""One metric of one attack on one victim, row by row, and what no number is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .intervals import Values

Direction = Literal["higher", "lower"]


@dataclass(frozen=True)
class Measured:
    """Scores of an attack and of its twins' candidates on the same rows of one victim.

    Several seeds of one attacker are averaged row by row before (they are nested in their victim).
    """

    ids: tuple[str, ...]
    """The scored rows, n > 0."""
    attack: Values
    """(n,)"""
    outsider: Mapping[str, Values]
    """By name, guesses without any message: (n,) each."""
    rest: Mapping[str, Values]
    """By name, guesses from the view without what is attacked: (n,) each."""
    blind: float | None = None
    """A twin's score where it is known exactly; candidates are not asked then."""
    direction: Direction = "higher"
    """Whether a larger or a smaller score tells of a leak."""


def turned(measured: Measured) -> Measured:
    """Scores of which smaller ones tell of a leak, as what they lack to 1: the larger ones do then."""
    outsider, rest = ({name: 1 - rows for name, rows in side.items()} for side in (measured.outsider, measured.rest))
    blind = None if measured.blind is None else 1 - measured.blind
    return Measured(measured.ids, 1 - measured.attack, outsider, rest, blind)


def check(measured: Measured) -> None:
    """Refuse rows that no number can be made of, with one sentence of ValueError."""
    if not measured.ids:
        raise ValueError("a metric needs at least one scored row")
    if len(set(measured.ids)) < len(measured.ids):
        raise ValueError("each row must be scored once, but an id stands twice")
    _check_rows("the attack", measured.attack, len(measured.ids))
    for side, candidates in (("outsider", measured.outsider), ("rest", measured.rest)):
        for name, values in candidates.items():
            _check_rows(f"the {side} twin {name!r}", values, len(measured.ids))
    if measured.blind is not None and not (math.isfinite(measured.blind) and 0 <= measured.blind <= 1):
        raise ValueError(f"the exact chance must lie in [0, 1], not be {measured.blind}")


def _check_rows(whose: str, values: Values, rows: int) -> None:
    if values.shape != (rows,):
        raise ValueError(f"scores of {whose} must have the shape {(rows,)} of the ids, not {values.shape}")
    # a comparison with NaN is false, so this finds it too
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"scores of {whose} must be numbers in [0, 1]; a row without a score counts as 0")


def same_rows(candidates: Mapping[str, Measured]) -> None:
    """Refuse to compare measurements of different rows, or with different exact chances."""
    first = next(iter(candidates.values()))
    if any(one.ids != first.ids for one in candidates.values()):
        raise ValueError("attacks can only be compared on the same rows in the same order")
    if any((one.blind, one.direction) != (first.blind, first.direction) for one in candidates.values()):
        raise ValueError("attacks on the same rows must have the same exact chance and direction")
