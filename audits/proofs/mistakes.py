"""Planted mistakes: wrong rules, each of which must be seen to break a promise that the right ones keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy

from .. import statistics
from ..statistics import LEAK, Advantage, Measured, Numbers, Verdict
from .promises import PROMISES, Promise, Rules
from .scenarios import names


@dataclass(frozen=True)
class Mistake:
    """Wrong rules, and the promise that they break."""

    told: str
    rules: Rules
    promise: Promise


def pooled(measured: Sequence[Measured], generator: numpy.random.Generator) -> Numbers:
    """The rows of all victims as if they were one victim's."""
    first = measured[0]
    rows = sum(len(one.ids) for one in measured)
    outsider, rest = (
        {name: numpy.concatenate([getattr(one, side)[name] for one in measured]) for name in getattr(first, side)}
        for side in ("outsider", "rest")
    )
    attack = numpy.concatenate([one.attack for one in measured])
    return statistics.state([Measured(names(rows), attack, outsider, rest, first.blind)], generator)


def over_nothing(measured: Sequence[Measured], generator: numpy.random.Generator) -> Numbers:
    """The twins left out: every attack compared with a score of 0."""
    zeros = [{"nothing": numpy.zeros(len(one.ids))} for one in measured]
    bare = [replace(one, outsider=zero, rest=zero) for one, zero in zip(measured, zeros, strict=True)]
    return statistics.state(bare, generator)


def on_the_scored_rows(candidates: Mapping[str, Measured]) -> tuple[Measured, str]:
    """The attack that is best on the rows that it is reported on."""
    name = max(candidates, key=lambda name: float(candidates[name].attack.mean()))
    return candidates[name], name


def uncorrected(p: Sequence[float]) -> list[float]:
    """Every claim as if it were the only one."""
    return list(p)


def by_value(found: Advantage, adjusted: float, controlled: bool) -> Verdict:
    """Verdicts that read the value and not the ends of its interval."""
    at_value = Advantage(found.value, found.value, found.value, found.p)
    return statistics.verdict(at_value, adjusted if found.value > LEAK else 1.0, controlled)


def _promise(claim: str, scenario: str) -> Promise:
    return next(one for one in PROMISES if one.claim.startswith(claim) and one.scenario.startswith(scenario))


MISTAKES = (
    Mistake("rows of five victims pooled", Rules(state=pooled), _promise("interval of the value", "5 victims, 300")),
    Mistake("chosen on the scored rows", Rules(best=on_the_scored_rows), _promise("interval of the best", "10 alike")),
    Mistake("a twin left out", Rules(state=over_nothing), _promise("any claim on noise", "table of 10")),
    Mistake("no correction over the table", Rules(holm=uncorrected), _promise("any gain of exactly", "table of 40")),
    Mistake("resists by the value alone", Rules(verdict=by_value), _promise("planted", "one victim, 50 documents")),
)
