"""How much more accurate one protocol is than another on the same data, over several draws of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy
from scipy.stats import t

from ..system.data import Split
from ..system.protocols import Protocol, interleave
from ..system.roles import Device
from ..system.wire import Wire
from .apart import Case, accuracy, forked
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
        bench.say(f"accuracy on draw {draw + 1} of {draws}")
        again = replace(bench, seed=f"{bench.seed} {draw}")
        parts = drawn(again)
        found = [trained(Case(protocol, bench.backbone, parts, again.seed)) for protocol in (one, other)]
        gaps.append(found[0] - found[1])
    mean, spread = float(numpy.mean(gaps)), float(numpy.std(gaps, ddof=1)) / draws**0.5
    reach = float(t.ppf((1 + LEVEL) / 2, draws - 1)) * spread
    return Accuracy(mean, mean - reach, mean + reach, tuple(gaps))


def trained(case: Case) -> float:
    """Accuracy on the test rows after training, by the first device, in a process of its own."""

    def run() -> dict[str, Any]:
        roles = case.protocol.roles(scene := case.scene())
        interleave([role for role in roles.values() if isinstance(role, Device)], Wire(roles, lambda _message: None))
        first = roles[next(iter(scene.samples))]
        assert isinstance(first, Device)
        return {"accuracy": accuracy(first, case.parts)}

    found: float = forked(run)["accuracy"]
    return found
