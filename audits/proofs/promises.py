"""What the statistics promise, each as a synthetic audit whose outcome is counted; and mistakes that break a promise.

Bounds: an interval of 95 % covers the truth in at least 93 % of audits, one by bootstrap or t in at most 97 %; a
planted advantage of 0.10 is called `resists`, and noise `leaks`, in at most 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy

from .. import statistics
from ..statistics import Advantage, Interval, Measured, Numbers, Verdict
from .scenarios import (
    ALIKE,
    FEW,
    MIXED,
    MOST,
    RISING,
    SLIGHT,
    boundary_table,
    noise_on_documents,
    noise_on_labels,
    noise_table,
    on_documents,
    on_labels,
    over_chance,
    reading_victims,
    seeded_victims,
    ten_on_documents,
    ten_on_labels,
    victims,
    victims_table,
)

Generator = numpy.random.Generator


@dataclass(frozen=True)
class Rules:
    """The rules under test."""

    state: Callable[[Sequence[Measured], Generator], Numbers] = statistics.state
    best: Callable[[Mapping[str, Measured]], tuple[Measured, str]] = statistics.best
    holm: Callable[[Sequence[float]], list[float]] = statistics.holm
    verdict: Callable[[Advantage, float, bool], Verdict] = statistics.verdict


@dataclass(frozen=True)
class Promise:
    """In how many audits a thing happens."""

    claim: str
    scenario: str
    audit: Callable[[Rules, Generator], bool]
    """One synthetic audit: whether it happened."""
    least: float = 0.0
    most: float = 1.0


# --- what happens in one audit ---------------------------------------------------------------------------------


def covered(make: Callable[[Generator], list[Measured]], true: float, rules: Rules, generator: Generator) -> bool:
    """Whether the interval of the value holds the true one."""
    return _within(rules.state(make(generator), generator).found, true)


def gain_covered(make: Callable[[Generator], list[Measured]], true: float, rules: Rules, generator: Generator) -> bool:
    """Whether the interval of the advantage holds the true one."""
    return _within(_gain(rules.state(make(generator), generator)), true)


def resists(make: Callable[[Generator], list[Measured]], rules: Rules, generator: Generator) -> bool:
    """Whether a single claim, whose controls succeeded, is called `resists`."""
    found = _gain(rules.state(make(generator), generator))
    return rules.verdict(found, rules.holm([found.p])[0], True) == "resists"


def any_leaks(make: Callable[[Generator], Iterator[list[Measured]]], rules: Rules, generator: Generator) -> bool:
    """Whether any claim of a table is called `leaks`."""
    found = [_gain(rules.state(one, generator)) for one in make(generator)]
    adjusted = rules.holm([one.p for one in found])
    return any(rules.verdict(one, p, True) == "leaks" for one, p in zip(found, adjusted, strict=True))


def best_leaks(make: Callable[[Generator], dict[str, Measured]], rules: Rules, generator: Generator) -> bool:
    """Whether the best of several attacks is called `leaks`, as a table's only claim."""
    return any_leaks(lambda g: iter([[rules.best(make(g))[0]]]), rules, generator)


def best_covered(
    make: Callable[[Generator], dict[str, Measured]], true: Mapping[str, float], rules: Rules, generator: Generator
) -> bool:
    """Whether the interval of the best attack's value holds the true one of the attack that was chosen."""
    found, name = rules.best(make(generator))
    return _within(rules.state([found], generator).found, true[name])


def _within(found: Interval | Advantage, true: float) -> bool:
    return found.low <= true <= found.high


def _gain(found: Numbers) -> Advantage:
    if found.advantage is None:
        raise ValueError("a claim needs an advantage")
    return found.advantage


# --- the promises ----------------------------------------------------------------------------------------------

COVERS = "interval of the value covers the truth"
GAIN_COVERS = "interval of the advantage covers the truth"
RESISTS = "planted advantage of 0.10 is called resists"
LEAKS = "any claim on noise is called a leak"
BEST_COVERS = "interval of the best attack covers its truth"

EXACT = {"least": 0.93}
RESAMPLED = {"least": 0.93, "most": 0.97}
SELDOM = {"most": 0.05}

Maker = Callable[[Generator], Measured]


def _one(make: Maker) -> Callable[[Generator], list[Measured]]:
    return lambda generator: [make(generator)]


def _labels(blind: float, gain: float, rows: int) -> Maker:
    return partial(on_labels, blind, gain, rows)


def _values() -> Iterator[Promise]:
    for share, rows in ((0.02, 300), (0.3, 300), (0.97, 1500)):
        scenario = f"one victim, {rows} labels, {share:.0%} right"
        yield Promise(COVERS, scenario, partial(covered, _one(_labels(0.0, share, rows)), share), **EXACT)
    for kind, told in ((FEW, "few tokens right"), (MIXED, "all or nothing"), (MOST, "most tokens right")):
        for rows in (50, 100):
            make = _one(partial(noise_on_documents, kind, rows))
            scenario = f"one victim, {rows} documents, {told}"
            yield Promise(COVERS, scenario, partial(covered, make, kind.mean), **RESAMPLED)
    for number in (5, 8):
        make_all = partial(victims, number, 300, 0.3, 1 / 7, 0.035)
        yield Promise(COVERS, f"{number} victims, 300 labels", partial(covered, make_all, 0.4), **RESAMPLED)
    true = FEW.mean + (1 - FEW.mean) * SLIGHT.mean
    reading = partial(covered, partial(reading_victims, 5, 50), true)
    yield Promise(COVERS, "5 victims, 50 documents", reading, **RESAMPLED)
    seeded = partial(covered, partial(seeded_victims, 5, 300, 3), 0.4)
    yield Promise(COVERS, "5 victims, 300 labels, 3 seeds averaged first", seeded, **RESAMPLED)


def _advantages() -> Iterator[Promise]:
    for rows, chance, gain in ((30, 0.05, 0.3), (150, 0.25, 0.0)):
        scenario = f"one victim, {rows} random-label rows over chance {chance}"
        make = partial(over_chance, chance, gain, rows)
        yield Promise(GAIN_COVERS, scenario, partial(gain_covered, make, gain), **EXACT)
    for blind, gain, rows in ((0.05, 0.6, 300), (0.3, 0.1, 300), (0.8, 0.3, 1500)):
        scenario = f"one victim, {rows} labels, {gain} over {blind}"
        audit = partial(gain_covered, _one(_labels(blind, gain, rows)), gain)
        yield Promise(GAIN_COVERS, scenario, audit, **RESAMPLED)
    noise = _one(partial(noise_on_labels, 0.2, 300))
    yield Promise(GAIN_COVERS, "one victim, 300 labels, noise", partial(gain_covered, noise, 0.0), **RESAMPLED)
    for gained in (SLIGHT, MIXED):
        for rows in (50, 100):
            scenario = f"one victim, {rows} documents, {gained.mean:.2f} over {FEW.mean:.3f}"
            documents = _one(partial(on_documents, FEW, gained, rows))
            yield Promise(GAIN_COVERS, scenario, partial(gain_covered, documents, gained.mean), **RESAMPLED)
    for number in (5, 8):
        several = partial(victims, number, 300, 0.3, 0.1, 0.035)
        scenario = f"{number} victims, 300 labels, 0.1 over 0.3"
        yield Promise(GAIN_COVERS, scenario, partial(gain_covered, several, 0.1), **RESAMPLED)


def _verdicts() -> Iterator[Promise]:
    for blind, rows in ((0.02, 300), (0.3, 300), (0.8, 1500)):
        audit = partial(resists, _one(_labels(blind, 0.1, rows)))
        yield Promise(RESISTS, f"one victim, {rows} labels, over {blind}", audit, **SELDOM)
    for rows in (50, 100):
        documents = _one(partial(on_documents, FEW, SLIGHT, rows))
        yield Promise(RESISTS, f"one victim, {rows} documents", partial(resists, documents), **SELDOM)
    several = partial(resists, partial(victims, 5, 300, 0.3, 0.1, 0.035))
    yield Promise(RESISTS, "5 victims, 300 labels", several, **SELDOM)
    yield Promise(LEAKS, "table of 40: 30 on labels, 10 on documents", partial(any_leaks, noise_table), **SELDOM)
    yield Promise(LEAKS, "table of 10 over 5 victims", partial(any_leaks, victims_table), **SELDOM)
    boundary = partial(any_leaks, boundary_table)
    yield Promise("any gain of exactly 0.05 is called a leak", "table of 40 on labels", boundary, **SELDOM)


def _bests() -> Iterator[Promise]:
    label_noise, document_noise = partial(ten_on_labels, ALIKE), partial(ten_on_documents, FEW)
    yield Promise(LEAKS, "the best of 10 attacks on 300 labels", partial(best_leaks, label_noise), **SELDOM)
    yield Promise(LEAKS, "the best of 10 attacks on 100 documents", partial(best_leaks, document_noise), **SELDOM)
    yield Promise(BEST_COVERS, "10 alike on 300 labels", partial(best_covered, label_noise, ALIKE), **EXACT)
    rising = partial(best_covered, partial(ten_on_labels, RISING), RISING)
    yield Promise(BEST_COVERS, "10 unlike on 300 labels", rising, **EXACT)
    reading = partial(best_covered, document_noise, dict.fromkeys(ALIKE, FEW.mean))
    yield Promise(BEST_COVERS, "10 alike on 100 documents", reading, **RESAMPLED)


PROMISES = (*_values(), *_advantages(), *_verdicts(), *_bests())
