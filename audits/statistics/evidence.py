"""All numbers of one metric: on one victim, or over several with the victim as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy

from .advantage import Advantage, advantage, advantage_over_chance, p_over_victims, share_of_open
from .intervals import Interval, Values, alike, interval, t_interval
from .measured import Measured, check, turned
from .selection import best_of, half_of

FEWEST_VICTIMS = 5
"""Fewer victims are stated one by one."""


Chosen = tuple[Values, tuple[str, ...]]
"""Rows (n,) of a side's twin, and which candidates stand for it."""


class PerfectTwin(ValueError):
    """The stronger twin is always right, so that no advantage over it exists."""


class Twin(NamedTuple):
    """What the strongest candidate of a side reaches; where the halves chose different ones, both are named."""

    name: str
    interval: Interval

    @property
    def turned(self) -> Twin:
        return Twin(self.name, _turned(self.interval))


@dataclass(frozen=True)
class Numbers:
    """What is stated of one metric."""

    found: Interval
    outsider: Twin | None
    rest: Twin | None
    advantage: Advantage | None
    """Over the stronger of all candidates; None where there is none, for a metric that is not judged."""
    n: int
    """Rows of all victims."""
    victims: int

    @property
    def turned(self) -> Numbers:
        """The same numbers of what scores lack to 1; an advantage stays, as (1 - value) / (1 - blind) does."""
        outsider, rest = (twin and twin.turned for twin in (self.outsider, self.rest))
        return Numbers(_turned(self.found), outsider, rest, self.advantage, self.n, self.victims)


def _turned(found: Interval) -> Interval:
    return Interval(1 - found.value, 1 - found.high, 1 - found.low)


@dataclass(frozen=True)
class _Own:
    """One victim's attack and its twins, chosen: rows (n,) each; a twin is None where there is no candidate."""

    attack: Values
    outsider: Chosen | None
    rest: Chosen | None
    stronger: Values | None


def state(measured: Sequence[Measured], generator: numpy.random.Generator, *, judged: bool = True) -> Numbers:
    """The numbers of one metric.

    One victim: intervals over its rows, which speak of this victim alone. FEWEST_VICTIMS or more: the victim is the
    unit, with Student's t over the victims' values; pooled rows would cover 75 % instead of 95 %. In between:
    ValueError.

    A judged metric must have candidates on both sides, or an exact chance, else ValueError; PerfectTwin where the
    stronger twin is always right. Without `judged` such a twin or advantage is None.
    """
    if not measured or 1 < len(measured) < FEWEST_VICTIMS:
        raise ValueError(f"numbers speak of one victim or of at least {FEWEST_VICTIMS}, not of {len(measured)}")
    for one in measured:
        check(one)
        if judged and one.blind is None and not (one.outsider and one.rest):
            raise ValueError("a judged metric needs a twin of each kind, outsider and rest, or an exact chance")
    if len({one.blind for one in measured}) > 1:
        raise ValueError("all victims must have the same exact chance, or none")
    if len({one.direction for one in measured}) > 1:
        raise ValueError("all victims must have scores of one direction")
    if measured[0].direction == "lower":
        return state([turned(one) for one in measured], generator, judged=judged).turned
    n = sum(len(one.ids) for one in measured)
    if measured[0].blind is not None:
        return _over_chance([one.attack for one in measured], measured[0].blind, n, generator)
    victims = [_choose(one) for one in measured]
    found = _mean([own.attack for own in victims], generator)
    outsider = _twin([own.outsider for own in victims], generator)
    rest = _twin([own.rest for own in victims], generator)
    return Numbers(found, outsider, rest, _advantage(victims, generator, judged), n, len(victims))


def _choose(one: Measured) -> _Own:
    """The strongest candidate of each side, and of all, each chosen on the half of the rows that it is not used on."""
    half = half_of(one.ids)
    every = {f"{side} {name}": rows for side in ("outsider", "rest") for name, rows in getattr(one, side).items()}
    outsider, rest, stronger = (best_of(s, half) if s else None for s in (one.outsider, one.rest, every))
    return _Own(one.attack, outsider, rest, stronger[0] if stronger else None)


def _mean(rows: Sequence[Values], generator: numpy.random.Generator) -> Interval:
    """The mean of one victim's rows, or of several victims' means.

    Victims whose means are all alike leave Student's t without width; the pooled rows give it then.
    """
    means = numpy.array([own.mean() for own in rows])
    if len(rows) == 1 or alike(means):
        return interval(numpy.concatenate(rows), generator)
    return t_interval(means, 0.0, 1.0)


def _twin(chosen: Sequence[Chosen | None], generator: numpy.random.Generator) -> Twin | None:
    """A side over all victims; None where it has no candidate on some victim."""
    there = [one for one in chosen if one is not None]
    if len(there) < len(chosen):
        return None
    names = dict.fromkeys(name for _, own in there for name in own)
    return Twin(", ".join(names), _mean([values for values, _ in there], generator))


def _advantage(victims: Sequence[_Own], generator: numpy.random.Generator, judged: bool) -> Advantage | None:
    pairs = [(own.attack, own.stronger) for own in victims if own.stronger is not None]
    if len(pairs) < len(victims):
        return None
    if any(blind.mean() == 1 for _, blind in pairs):
        if judged:
            raise PerfectTwin("a twin without the leak is always right, so that no advantage exists")
        return None
    each = numpy.array([share_of_open(float(attack.mean()), float(blind.mean())) for attack, blind in pairs])
    if len(pairs) == 1 or alike(each):
        attacks, twins = zip(*pairs, strict=True)
        return advantage(numpy.concatenate(attacks), numpy.concatenate(twins), generator)
    return _over_victims(each)


def _over_victims(each: Values) -> Advantage:
    return Advantage(*t_interval(each, highest=1.0), p_over_victims(each))


def _over_chance(attacks: Sequence[Values], chance: float, n: int, generator: numpy.random.Generator) -> Numbers:
    """Where chance is known exactly, on both sides."""
    found, exact = _mean(attacks, generator), Twin("exact", Interval(chance, chance, chance))
    if chance == 1:
        raise PerfectTwin("chance alone is always right, so that no advantage exists")
    means = numpy.array([own.mean() for own in attacks])
    if len(attacks) == 1 or alike(means):
        gained = advantage_over_chance(numpy.concatenate(attacks), chance, found)
    else:
        gained = _over_victims((means - chance) / (1 - chance))
    return Numbers(found, exact, exact, gained, n, len(attacks))
