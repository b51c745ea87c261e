"""Leakage against utility against bytes: which protocols no other one beats in all three."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .adversary import adversary_of
from .summary import ALL_GOALS, MEMBERS, Summary

FEWER = 0.01
"""By which share bytes are fewer where they make the difference: a message's own name has some too."""


@dataclass(frozen=True)
class Place:
    """One group of runs in one goal."""

    number: int
    """Its place among the summaries, from 1."""
    name: str
    leakage: float
    """The advantage of the strongest attack, for membership its value; 0 where nothing crosses."""
    low: float
    high: float
    utility: float | None
    uplink: float | None
    """Bytes a sample."""
    silent: bool
    on_front: bool = False
    utility_low: float | None = None
    utility_high: float | None = None


@dataclass(frozen=True)
class Front:
    """All groups of runs in which an adversary attacked a goal."""

    goal: str
    about: str
    adversary: str
    """As in a sentence."""
    places: tuple[Place, ...]


def fronts(summaries: Sequence[Summary]) -> tuple[Front, ...]:
    """One for each goal and adversary with two places or more beside those where nothing crosses."""
    numbered: dict[str, list[tuple[int, Summary]]] = {}
    for at, summary in enumerate(summaries, 1):
        numbered.setdefault(str(adversary_of(summary)), []).append((at, summary))
    found = (_front(goal, who, group) for goal in ALL_GOALS for who, group in numbered.items())
    return tuple(front for front in found if front is not None)


def _front(goal: str, adversary: str, group: Sequence[tuple[int, Summary]]) -> Front | None:
    places = tuple(_places(goal, group))
    rivals = [place for place in places if not place.silent]
    if len(rivals) < 2:
        return None
    marked = tuple(
        replace(place, on_front=not place.silent and not any(beats(other, place) for other in rivals))
        for place in places
    )
    return Front(goal, ALL_GOALS[goal], adversary, marked)


def _places(goal: str, group: Sequence[tuple[int, Summary]]) -> Iterator[Place]:
    for at, s in group:
        row, found = s.strongest(goal), s.group.utility
        utility = (None, None, None) if found is None else (found.value, found.low, found.high)
        place = Place(at, s.name, 0.0, 0.0, 0.0, utility[0], 0.0, s.silent, False, *utility[1:])
        if s.silent:
            yield place
        elif row is not None:
            value, low, high = (
                (row.value, row.low, row.high)
                if goal == MEMBERS
                else (row.advantage, row.advantage_low, row.advantage_high)
            )
            if value is not None:
                low, high = (value if end is None else end for end in (low, high))
                yield replace(place, leakage=value, low=low, high=high, uplink=s.uplink)


def beats(one: Place, other: Place) -> bool:
    """Whether a place is as good in all three figures and surely better in one: by more than the intervals.

    What was not measured beats nothing and is not beaten.
    """
    mine, theirs = _costs(one), _costs(other)
    if mine is None or theirs is None:
        return False
    return all(a <= b for a, b in zip(mine, theirs, strict=True)) and _surely(one, other)


def _surely(one: Place, other: Place) -> bool:
    """Whether intervals lie apart, or bytes are fewer by one in a hundred."""
    fewer = (one.uplink or 0.0) < (1 - FEWER) * (other.uplink or 0.0)
    better = _first(one.utility_low, one.utility) > _first(other.utility_high, other.utility)
    return max(one.high, 0.0) < other.low or better or fewer


def _first(*values: float | None) -> float:
    return next((value for value in values if value is not None), 0.0)


def _costs(place: Place) -> tuple[float, float, int] | None:
    if place.utility is None or place.uplink is None:
        return None
    return max(place.leakage, 0.0), -place.utility, round(place.uplink)
