"""Leakage against utility against bytes: which protocols no other one beats in all three."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .summary import ALL_GOALS, MEMBERS, Summary


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


@dataclass(frozen=True)
class Front:
    """All groups of runs in which a goal was attacked."""

    goal: str
    about: str
    places: tuple[Place, ...]


def fronts(summaries: Sequence[Summary]) -> tuple[Front, ...]:
    """One for each goal with two places or more beside those where nothing crosses."""
    return tuple(front for goal in ALL_GOALS if (front := _front(goal, summaries)) is not None)


def _front(goal: str, summaries: Sequence[Summary]) -> Front | None:
    places = tuple(_places(goal, summaries))
    rivals = [place for place in places if not place.silent]
    if len(rivals) < 2:
        return None
    marked = tuple(
        Place(**{**vars(place), "on_front": not place.silent and not any(beats(other, place) for other in rivals)})
        for place in places
    )
    return Front(goal, ALL_GOALS[goal], marked)


def _places(goal: str, summaries: Sequence[Summary]) -> Iterator[Place]:
    for at, s in enumerate(summaries, 1):
        row = s.strongest(goal)
        utility = s.group.utility.value if s.group.utility else None
        if s.silent:
            yield Place(at, s.name, 0.0, 0.0, 0.0, utility, 0.0, True)
        elif row is not None:
            found = (row.value, row.low, row.high)
            if goal != MEMBERS:
                found = (row.advantage, row.advantage_low, row.advantage_high)
            value, low, high = found
            if value is not None:
                low, high = (value if end is None else end for end in (low, high))
                yield Place(at, s.name, value, low, high, utility, s.uplink, False)


def beats(one: Place, other: Place) -> bool:
    """Whether a place is as good in all three and better in one; what was not measured beats nothing."""
    mine, theirs = _costs(one), _costs(other)
    if mine is None or theirs is None:
        return False
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


def _costs(place: Place) -> tuple[float, float, float] | None:
    if place.utility is None or place.uplink is None:
        return None
    return max(place.leakage, 0.0), -place.utility, place.uplink
