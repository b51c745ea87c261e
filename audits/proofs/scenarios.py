"""Synthetic victims whose true scores and advantages are known.

An advantage d is planted by letting the attack keep what its twin has and win each thing that the twin leaves open
with probability d: then E[a - b] / E[1 - b] = d exactly, for labels (a row is right or wrong) and for documents (a row
is the share of its tokens that are right) alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy

from ..statistics import LEAK, Measured, Values

Generator = numpy.random.Generator

TOKENS = 12
"""Tokens of a document."""


@dataclass(frozen=True)
class Documents:
    """Shares of right tokens: many exact zeros and ones, the rest skewed."""

    nothing: float
    """Share of documents of which nothing is right."""
    everything: float
    ahead: float
    behind: float
    """Of the others, the share of right tokens is drawn from the beta distribution with these two."""

    @property
    def mean(self) -> float:
        return self.everything + (1 - self.nothing - self.everything) * self.ahead / (self.ahead + self.behind)

    def chances(self, rows: int, generator: Generator) -> Values:
        """For each document, the chance that a token is right: (rows,)."""
        kind = generator.random(rows)
        drawn = generator.beta(self.ahead, self.behind, rows)
        return numpy.where(kind < self.nothing, 0.0, numpy.where(kind > 1 - self.everything, 1.0, drawn))

    def scores(self, rows: int, generator: Generator) -> Values:
        return generator.binomial(TOKENS, self.chances(rows, generator)) / TOKENS


FEW = Documents(nothing=0.40, everything=0.03, ahead=0.6, behind=3)
"""A blind guess: mostly nothing, mean 0.125."""
MOST = Documents(nothing=0.03, everything=0.50, ahead=4, behind=0.8)
"""A reconstruction that mostly works: mean 0.89."""
MIXED = Documents(nothing=0.30, everything=0.40, ahead=1, behind=1)
"""One that works or fails: mean 0.55."""
SLIGHT = Documents(nothing=0.70, everything=0.03, ahead=0.35, behind=1)
"""A gain of 0.10, nothing on most documents."""

ALIKE = {f"{at}": 0.2 for at in range(10)}
RISING = {f"{at}": 0.2 + 0.02 * at for at in range(10)}
"""True values of ten attacks."""


def labels(share: float, rows: int, generator: Generator) -> Values:
    """Rows that are right with a probability."""
    return (generator.random(rows) < share).astype(numpy.float64)


def gaining(twin: Values, gain: float | Documents, generator: Generator) -> Values:
    """An attack with a planted advantage over its twin."""
    if isinstance(gain, float):
        return numpy.maximum(twin, labels(gain, len(twin), generator))
    chances = gain.chances(len(twin), generator)
    left = numpy.rint((1 - twin) * TOKENS).astype(numpy.int64)
    return twin + generator.binomial(left, chances) / TOKENS


@lru_cache(maxsize=64)
def names(rows: int) -> tuple[str, ...]:
    return tuple(f"{at:08x}" for at in range(rows))


def on_labels(blind: float, gain: float, rows: int, generator: Generator) -> Measured:
    """A victim's labels, with a planted advantage over the outsider's twin; that of the rest is weaker."""
    twin = labels(blind, rows, generator)
    weaker = labels(blind / 2, rows, generator)
    return Measured(names(rows), gaining(twin, gain, generator), {"prior": twin}, {"probe": weaker})


def on_documents(blind: Documents, gain: Documents, rows: int, generator: Generator) -> Measured:
    """The same of a victim's documents."""
    twin = blind.scores(rows, generator)
    weaker = twin * labels(0.5, rows, generator)
    return Measured(names(rows), gaining(twin, gain, generator), {"prior": twin}, {"tokens by label": weaker})


def noise_on_labels(chance: float, rows: int, generator: Generator, twins: int = 4) -> Measured:
    """An attack that knows nothing, beside several candidates for each twin that know as much."""
    outsider, rest = ({f"{at}": labels(chance, rows, generator) for at in range(twins)} for _ in range(2))
    return Measured(names(rows), labels(chance, rows, generator), outsider, rest)


def noise_on_documents(kind: Documents, rows: int, generator: Generator, twins: int = 4) -> Measured:
    """The same of documents."""
    outsider, rest = ({f"{at}": kind.scores(rows, generator) for at in range(twins)} for _ in range(2))
    return Measured(names(rows), kind.scores(rows, generator), outsider, rest)


def around(mean: float, spread: float, generator: Generator) -> float:
    """One victim's true share: beta distributed over victims, with this mean and standard deviation."""
    size = mean * (1 - mean) / spread**2 - 1
    return float(generator.beta(mean * size, (1 - mean) * size))


def over_chance(chance: float, gain: float, rows: int, generator: Generator) -> list[Measured]:
    """Rows whose label a coin drew."""
    return [Measured(names(rows), labels(chance + gain * (1 - chance), rows, generator), {}, {}, blind=chance)]


def victims(number: int, rows: int, blind: float, gain: float, spread: float, generator: Generator) -> list[Measured]:
    """Victims that differ: their twins' scores and the attack's gain vary around their means."""
    ours = [(around(blind, spread, generator), around(gain, spread, generator)) for _ in range(number)]
    return [on_labels(twin, own, rows, generator) for twin, own in ours]


def reading_victims(number: int, rows: int, generator: Generator) -> list[Measured]:
    """Victims of whose documents nothing is right in 20 to 60 %, with a gain of 0.10."""
    kinds = [replace(FEW, nothing=0.2 + 0.4 * generator.random()) for _ in range(number)]
    return [on_documents(kind, SLIGHT, rows, generator) for kind in kinds]


def seeded_victims(number: int, rows: int, seeds: int, generator: Generator) -> list[Measured]:
    """Every victim attacked with several seeds, whose luck differs; averaged row by row."""
    found = []
    for _ in range(number):
        mean = around(0.4, 0.05, generator)
        tried = [labels(around(mean, 0.03, generator), rows, generator) for _ in range(seeds)]
        twin = labels(0.2, rows, generator)
        found.append(Measured(names(rows), numpy.mean(tried, axis=0), {"prior": twin}, {"prior": twin}))
    return found


def noise_table(generator: Generator) -> Iterator[list[Measured]]:
    """Forty claims about attacks that know nothing: thirty on labels, ten on documents."""
    for _ in range(30):
        chance, rows = generator.choice([0.05, 0.2, 0.5, 0.8]), int(generator.choice([300, 600, 1500]))
        yield [noise_on_labels(chance, rows, generator)]
    for _ in range(10):
        yield [noise_on_documents(FEW, int(generator.choice([50, 100])), generator)]


def boundary_table(generator: Generator) -> Iterator[list[Measured]]:
    """Forty claims about attacks that gain LEAK and no more."""
    for _ in range(40):
        blind, rows = generator.choice([0.05, 0.2, 0.5, 0.8]), int(generator.choice([300, 600]))
        yield [on_labels(blind, LEAK, rows, generator)]


def victims_table(generator: Generator) -> Iterator[list[Measured]]:
    """Ten claims over five victims each, whose attacks know nothing."""
    for _ in range(10):
        yield [noise_on_labels(around(0.2, 0.04, generator), 300, generator) for _ in range(5)]


def ten_on_labels(shares: Mapping[str, float], generator: Generator) -> dict[str, Measured]:
    """Attacks on 300 labels with these true values, beside twins at 0.2."""
    twins = noise_on_labels(0.2, 300, generator)
    return {name: replace(twins, attack=labels(share, 300, generator)) for name, share in shares.items()}


def ten_on_documents(kind: Documents, generator: Generator) -> dict[str, Measured]:
    """The same of 100 documents, where none knows anything."""
    twins = noise_on_documents(kind, 100, generator)
    return {f"{at}": replace(twins, attack=kind.scores(100, generator)) for at in range(10)}
