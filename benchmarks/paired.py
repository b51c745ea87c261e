"""How much more accurate one protocol is than another on the same data, over several draws of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy
from scipy.stats import t

from ..system.data import Split
from ..system.protocols import Protocol
from .apart import Case, forked, run
from .finding import Bench

LEVEL = 0.95


class Accuracy(NamedTuple):
    """A mean over draws with its t-interval."""

    mean: float
    low: float
    high: float
    draws: tuple[float, ...]


def accuracy_gap(bench: Bench, drawn: Callable[[Bench], Split], one: Protocol, other: Protocol, draws: int) -> Accuracy:
    """Accuracy of one less that of the other; a draw of data and weights is the unit."""
    gaps = []
    for draw in range(draws):
        again = replace(bench, seed=f"{bench.seed} {draw}")
        parts = drawn(again)
        found = [trained(Case(protocol, bench.backbone, parts, again.seed)) for protocol in (one, other)]
        gaps.append(found[0] - found[1])
        bench.say(f"accuracy on draw {draw + 1} of {draws}: {found[0]:.4f} and {found[1]:.4f}")
    mean, spread = float(numpy.mean(gaps)), float(numpy.std(gaps, ddof=1)) / draws**0.5
    reach = float(t.ppf((1 + LEVEL) / 2, draws - 1)) * spread
    return Accuracy(mean, mean - reach, mean + reach, tuple(gaps))


def trained(case: Case) -> float:
    """Accuracy on the test rows after training, by the first device, in a process of its own."""
    found: float = forked(partial(run, case, lambda _message: None))["accuracy"]
    return found
