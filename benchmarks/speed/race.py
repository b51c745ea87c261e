"""Who is first to be as good: seconds of each contender's own work, with what looks at it left out of the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch

from ...system.data import Sample

T = TypeVar("T")
Predict = Callable[[list[str]], torch.Tensor]
"""Scores (N, K) of N texts, by the order of the labels."""
Contender = Callable[[Sequence[Sample]], Iterator[Predict]]
"""Trains on rows, and stops now and then to be looked at."""


class Stop(NamedTuple):
    """Where a contender stood when it was looked at."""

    seconds: float
    """Of its own work so far, by the wall clock."""
    processor: float
    """Of the processor's time."""
    accuracy: float
    """On the rows that decide when it is done."""
    tested: float
    """On rows that decide nothing."""


class Judge(NamedTuple):
    """The rows that decide, the rows that do not, and the order of the labels."""

    deciding: Sequence[Sample]
    test: Sequence[Sample]
    labels: Sequence[str]

    def accuracy(self, predict: Predict, samples: Sequence[Sample]) -> float:
        """The share of samples whose label has the highest score."""
        goals = torch.tensor([self.labels.index(one.label) for one in samples])
        return float((predict([one.text for one in samples]).argmax(1) == goals).double().mean())


def run(contender: Contender, samples: Sequence[Sample], judge: Judge, target: float | None = None) -> list[Stop]:
    """Every stop of one contender, or those until it reaches the target."""
    stops = []
    for seconds, processor, predict in laps(contender(samples)):
        found = judge.accuracy(predict, judge.deciding)
        stops.append(Stop(seconds, processor, found, judge.accuracy(predict, judge.test)))
        if target is not None and found >= target:
            break
    return stops


def laps(work: Iterator[T]) -> Iterator[tuple[float, float, T]]:
    """Seconds, by the wall and the processor, that an iterator has taken of itself, with what it gave."""
    wall = processor = 0.0
    while True:
        began = time.perf_counter(), time.process_time()
        try:
            given = next(work)
        except StopIteration:
            return
        wall, processor = wall + time.perf_counter() - began[0], processor + time.process_time() - began[1]
        yield wall, processor, given


def reached(stops: Sequence[Stop], target: float) -> Stop | None:
    """The first stop at which the target was reached."""
    return next((stop for stop in stops if stop.accuracy >= target), None)
