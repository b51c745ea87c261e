"""Works timed by one clock, and in turns: what disturbs the machine then disturbs all that are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    began = clock()
    work()
    return clock() - began


def best(work: Callable[[], object], turns: int, clock: Callable[[], float] = time.process_time) -> float:
    """The fewest seconds of some turns, after one that warms up."""
    return min([seconds(work, clock) for _ in range(turns + 1)][1:])


def in_turns(works: Mapping[str, Callable[[], T]], turns: int) -> dict[str, list[T]]:
    """What each work gives, turn by turn, every second one in the other order; a first turn warms up only."""
    found: dict[str, list[T]] = {name: [] for name in works}
    for turn in range(turns + 1):
        for name in list(works)[:: -1 if turn % 2 else 1]:
            found[name].append(works[name]())
    return {name: given[1:] for name, given in found.items()}
