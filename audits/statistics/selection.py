"""Choosing on one half of the rows and reporting on the other: twins, and the best of several attacks.

What is chosen and reported on the same rows looks better than it is. Only the scored rows are split; attacks see the
whole view.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy
from numpy.typing import NDArray

from .intervals import Values
from .measured import Measured, check, same_rows


def half_of(ids: Sequence[str]) -> NDArray[numpy.bool_]:
    """A fixed half of the rows, (n,): True on half A, which is as large as half B or one row larger.

    Every second row in the order of the ids' digests: it follows from the ids alone, in whatever order they come, says
    nothing about the rows, and splits any half in halves again.
    """
    order = sorted(range(len(ids)), key=lambda at: hashlib.sha256(ids[at].encode()).digest())
    half = numpy.zeros(len(ids), dtype=numpy.bool_)
    half[order[::2]] = True
    return half


def best_of(candidates: Mapping[str, Values], half: NDArray[numpy.bool_]) -> tuple[Values, tuple[str, ...]]:
    """The best candidate, chosen for each half of the rows on the other half: (n,), and the names chosen.

    Among equals the first counts, as it does where the other half has no row.
    """
    on_a, on_b = _best_on(candidates, half), _best_on(candidates, ~half)
    values = numpy.where(half, candidates[on_b], candidates[on_a])
    return values, tuple(dict.fromkeys((on_a, on_b)))


def best(candidates: Mapping[str, Measured]) -> tuple[Measured, str]:
    """The attack that is best on half A, as it did on half B, and its name.

    The choice may fall on any of the attacks, so what is reported is measured against every twin of every one of them.
    """
    if not candidates:
        raise ValueError("the best of no attacks does not exist; give at least one")
    for one in candidates.values():
        check(one)
    same_rows(candidates)
    first = next(iter(candidates.values()))
    half = half_of(first.ids)
    if half.all():
        raise ValueError("choosing an attack on half of the rows needs at least two rows")
    name = _best_on({name: one.attack for name, one in candidates.items()}, half)
    kept = ~half
    outsider = dict(_united({own: one.outsider for own, one in candidates.items()}, kept))
    rest = dict(_united({own: one.rest for own, one in candidates.items()}, kept))
    ids = tuple(row for row, inside in zip(first.ids, kept, strict=True) if inside)
    return Measured(ids, candidates[name].attack[kept], outsider, rest, first.blind, first.direction), name


def _best_on(candidates: Mapping[str, Values], rows: NDArray[numpy.bool_]) -> str:
    if not rows.any():
        return next(iter(candidates))
    return max(candidates, key=lambda name: float(candidates[name][rows].mean()))


def _united(sides: Mapping[str, Mapping[str, Values]], kept: NDArray[numpy.bool_]) -> Iterator[tuple[str, Values]]:
    """Every different twin of several attacks once, by its name; by its attack's too where others have that name."""
    known: dict[str, list[Values]] = {}
    for attack, side in sides.items():
        for name, values in side.items():
            others = known.setdefault(name, [])
            if not any(numpy.array_equal(values, other) for other in others):
                yield f"{name} of {attack}" if others else name, values[kept]
                others.append(values)
