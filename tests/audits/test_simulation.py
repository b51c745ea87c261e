"""The statistics keep what they promise, and a planted mistake is seen to break it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy
import pytest
from rich.console import Console

from sidelight.audits.proofs import simulation
from sidelight.audits.proofs.mistakes import MISTAKES, Mistake
from sidelight.audits.proofs.promises import PROMISES, Promise, Rules
from sidelight.audits.proofs.scenarios import FEW, MIXED, MOST, SLIGHT, Documents, around, gaining, labels
from sidelight.audits.proofs.simulation import Outcome, report, simulate
from sidelight.audits.statistics import Measured, Numbers, state

SLOW = ("table of 40: 30",)
"""Left to the command: every audit states forty claims."""

QUICK = [one for one in PROMISES if "documents" not in one.scenario and "table" not in one.scenario]
READING = [one for one in PROMISES if "documents" in one.scenario and "table" not in one.scenario]
TABLES = [one for one in PROMISES if "table" in one.scenario and not one.scenario.startswith(SLOW)]


def name(one: Promise | Mistake) -> str:
    return f"{one.claim}: {one.scenario}" if isinstance(one, Promise) else one.told


def kept(outcome: Outcome) -> bool:
    """Whether few audits leave it open that the promise is kept."""
    low, high = outcome.interval
    return low <= outcome.promise.most and high >= outcome.promise.least


@pytest.mark.parametrize("promise", QUICK, ids=name)
def test_the_rules_keep_a_promise_on_labels(promise: Promise) -> None:
    assert kept(simulate(promise, 60, seed=1))


@pytest.mark.parametrize("promise", READING, ids=name)
def test_the_rules_keep_a_promise_on_documents(promise: Promise) -> None:
    assert kept(simulate(promise, 12, seed=1))


@pytest.mark.parametrize("promise", TABLES, ids=name)
def test_the_rules_keep_a_promise_over_a_table(promise: Promise) -> None:
    assert kept(simulate(promise, 6, seed=1))


@pytest.mark.parametrize(
    ("mistake", "audits"),
    [pytest.param(m, n, id=m.told) for m, n in zip(MISTAKES, (100, 120, 4, 12, 80), strict=True)],
)
def test_a_planted_mistake_is_seen_where_the_rules_are_not(mistake: Mistake, audits: int) -> None:
    wrong = simulate(mistake.promise, audits, seed=1, rules=mistake.rules)
    assert not wrong.met
    assert not kept(wrong)


def test_a_rule_of_ones_own_is_put_on_trial() -> None:
    def certain(measured: Sequence[Measured], generator: numpy.random.Generator) -> Numbers:
        found = state(measured, generator)
        value = found.found.value
        return Numbers(found.found._replace(low=value, high=value), None, None, None, found.n, found.victims)

    assert simulate(PROMISES[1], 20, seed=1, rules=Rules(state=certain)).share < 0.5


def test_every_demanded_line_stands_in_the_table() -> None:
    lines = [f"{one.claim}: {one.scenario}" for one in PROMISES]
    wanted = (
        "value.*labels",
        "value.*50 doc",
        "value.*100 doc",
        "value.*5 victims",
        "seeds averaged",
        "advantage.*labels",
    )
    for line in (
        *wanted,
        "advantage.*victims",
        "0.10.*resists",
        "noise.*leak.*table of 40",
        "noise.*best of 10",
        "best.*covers",
    ):
        assert any(re.search(line, one) for one in lines), line
    assert {(one.least, one.most) for one in PROMISES} == {(0.93, 1.0), (0.93, 0.97), (0.0, 0.05)}


def test_outcomes_are_the_same_for_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    found = simulation.simulate_all(2, 3, 2, told.append)
    assert sum(told) == 2 * (len(PROMISES) + len(MISTAKES))
    assert [one.happened for one in found[:8]] == [simulate(one, 2, 3).happened for one in PROMISES[:8]]


@pytest.mark.parametrize(
    ("change", "fine"),
    [({}, True), ({0: 500}, False), ({len(PROMISES): 950}, False)],
    ids=["right", "missed", "unseen"],
)
def test_the_command_fails_where_a_promise_is_missed_or_a_mistake_is_not_seen(
    change: Mapping[int, int], fine: bool
) -> None:
    good = [Outcome(one, 950 if one.least else 10, 1000) for one in PROMISES]
    seen = [Outcome(one.promise, 700, 1000) for one in MISTAKES]
    outcomes = [*good, *seen]
    for at, happened in change.items():
        outcomes[at] = Outcome(outcomes[at].promise, happened, 1000)
    console = Console(width=200, record=True, quiet=True)
    assert report(outcomes, console) is fine


def test_an_outcome_beyond_its_bound_is_missed() -> None:
    promise = Promise("a", "b", lambda rules, generator: True, 0.93, 0.97)
    assert [Outcome(promise, n, 1000).met for n in (929, 930, 970, 971)] == [False, True, True, False]
    assert simulate(promise, 10, seed=0).share == 1


@pytest.mark.parametrize("kind", [FEW, MOST, MIXED, SLIGHT])
def test_documents_have_the_mean_that_they_say(kind: Documents) -> None:
    scores = kind.scores(200_000, numpy.random.default_rng(0))
    assert scores.mean() == pytest.approx(kind.mean, abs=0.004)
    assert SLIGHT.mean == pytest.approx(0.10)


@pytest.mark.parametrize("gain", [0.1, SLIGHT])
def test_a_planted_advantage_is_what_it_says(gain: float | Documents) -> None:
    generator = numpy.random.default_rng(1)
    twin = labels(0.3, 200_000, generator) if isinstance(gain, float) else FEW.scores(200_000, generator)
    attack = gaining(twin, gain, generator)
    assert (attack.mean() - twin.mean()) / (1 - twin.mean()) == pytest.approx(0.10, abs=0.004)


def test_victims_vary_by_the_spread_that_they_say() -> None:
    generator = numpy.random.default_rng(2)
    drawn = [around(0.3, 0.035, generator) for _ in range(20_000)]
    assert numpy.mean(drawn) == pytest.approx(0.3, abs=0.001)
    assert numpy.std(drawn) == pytest.approx(0.035, rel=0.03)
