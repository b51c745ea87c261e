"""All numbers of a metric: on one victim, over several, over an exact chance, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest
from scipy import stats

from sidelight.audits.statistics import LEAK, Advantage, Interval, Measured, PerfectTwin, Twin, advantage, state

from .rows import counts, draws, measured, mixed, names


def victim(hits: int, blind: int = 20, rows: int = 100) -> Measured:
    return measured(counts(hits, rows), {"prior": counts(blind, rows)}, {"probe": counts(0, rows)})


def gain(found: Any) -> Advantage:
    assert isinstance(found.advantage, Advantage)
    return found.advantage


# --- one victim ------------------------------------------------------------------------------------------------


def test_one_victim_has_the_exact_interval_of_its_rows_and_of_its_twins() -> None:
    found = state([victim(60)], draws())
    assert found.found == pytest.approx((0.6, stats.beta.ppf(0.025, 60, 41), stats.beta.ppf(0.975, 61, 40)))
    assert found.outsider is not None
    assert found.outsider.name == "prior"
    assert found.outsider.interval.value == 0.2
    assert found.rest is not None
    assert found.rest.name == "probe"
    assert found.rest.interval == pytest.approx((0, 0, 1 - 0.025 ** (1 / 100)))
    assert (found.n, found.victims) == (100, 1)


def test_the_advantage_is_over_the_stronger_of_all_twins() -> None:
    weak, strong = counts(10, 100), counts(40, 100)
    for outsider, rest in ((weak, strong), (strong, weak)):
        found = state([measured(counts(70, 100), {"a": outsider}, {"a": rest})], draws())
        assert gain(found).value == pytest.approx((0.7 - 0.4) / 0.6)


def test_a_twin_is_chosen_on_other_rows_than_it_is_scored_on() -> None:
    generator = draws(2)
    noise = {f"{at}": mixed(0.5, 400, generator) for at in range(30)}
    found = state([measured(mixed(0.5, 400, generator), noise, noise)], draws())
    assert found.outsider is not None
    assert max(rows.mean() for rows in noise.values()) > 0.54
    assert found.outsider.interval.value == pytest.approx(0.5, abs=0.06)
    assert 1 <= len(found.outsider.name.split(", ")) <= 2


def test_the_same_state_of_the_generator_states_the_same_numbers() -> None:
    one = measured(draws(1).random(60), {"a": draws(2).random(60)}, {"b": draws(3).random(60)})
    assert state([one], draws(4)) == state([one], draws(4))


def test_a_score_that_is_constant_has_an_interval_that_is_not_empty() -> None:
    half = numpy.full(30, 0.5)
    found = state([measured(half, {"a": half}, {"b": half})], draws())
    assert found.outsider is not None
    for one in (found.found, found.outsider.interval, gain(found)):
        assert math.isfinite(one.low)
        assert math.isfinite(one.high)
        assert one.low < one.high


# --- several victims -------------------------------------------------------------------------------------------


def test_over_victims_the_victim_is_the_unit_of_every_interval() -> None:
    hits = [50, 60, 70, 55, 65]
    found = state([victim(h) for h in hits], draws())
    means = [h / 100 for h in hits]
    advantages = [(m - 0.2) / 0.8 for m in means]
    low, high = stats.t.interval(0.95, 4, numpy.mean(means), stats.sem(means))
    assert found.found == pytest.approx((0.6, low, high))
    low, high = stats.t.interval(0.95, 4, numpy.mean(advantages), stats.sem(advantages))
    expected = stats.ttest_1samp(advantages, LEAK, alternative="greater").pvalue
    assert gain(found) == pytest.approx((0.5, low, high, expected))
    assert (found.n, found.victims) == (500, 5)


def test_over_victims_that_are_all_alike_the_pooled_rows_give_the_width() -> None:
    found = state([victim(100) for _ in range(5)], draws())
    assert found.found == pytest.approx((1.0, 0.025 ** (1 / 500), 1.0))
    assert found.rest is not None
    assert found.rest.interval == pytest.approx((0.0, 0.0, 1 - 0.025 ** (1 / 500)))
    assert gain(found) == advantage(counts(500, 500), numpy.tile(counts(20, 100), 5), draws())
    assert gain(found).low < 1


def test_ends_over_victims_stay_possible() -> None:
    found = state([victim(h) for h in (100, 100, 100, 100, 60)], draws())
    assert found.found.high == 1.0
    assert gain(found).high == 1.0


def test_twins_of_several_victims_name_every_candidate_chosen() -> None:
    a, b = counts(30, 100), counts(10, 100)
    one, other = (measured(counts(50, 100), {"a": x, "b": y}, {"c": b}) for x, y in ((a, b), (b, a)))
    found = state([one, one, other, one, one], draws())
    assert found.outsider is not None
    assert found.outsider.name == "a, b"


@pytest.mark.parametrize("victims", [0, 2, 4])
def test_too_few_victims_are_refused(victims: int) -> None:
    with pytest.raises(ValueError, match="at least 5"):
        state([victim(50)] * victims, draws())


# --- an exact chance -------------------------------------------------------------------------------------------


def test_an_exact_chance_stands_on_both_sides_and_needs_no_candidates() -> None:
    found = state([measured(counts(40, 100), blind=0.2)], draws())
    assert found.outsider == found.rest == Twin("exact", Interval(0.2, 0.2, 0.2))
    low, high = stats.beta.ppf(0.025, 40, 61), stats.beta.ppf(0.975, 41, 60)
    exact = stats.binomtest(40, 100, 0.24, alternative="greater").pvalue
    assert gain(found) == pytest.approx((0.25, (low - 0.2) / 0.8, (high - 0.2) / 0.8, exact))


def test_over_victims_with_an_exact_chance_the_victim_is_the_unit() -> None:
    hits = [30, 40, 50, 35, 45]
    found = state([measured(counts(h, 100), blind=0.2) for h in hits], draws())
    advantages = [(h / 100 - 0.2) / 0.8 for h in hits]
    low, high = stats.t.interval(0.95, 4, numpy.mean(advantages), stats.sem(advantages))
    assert gain(found)[:3] == pytest.approx((0.25, low, high))


def test_victims_that_are_alike_over_an_exact_chance_have_the_width_of_the_pooled_rows() -> None:
    found = state([measured(counts(100, 100), blind=0.2) for _ in range(5)], draws())
    assert gain(found)[:3] == pytest.approx((1, (0.025 ** (1 / 500) - 0.2) / 0.8, 1))


def test_victims_with_different_exact_chances_are_refused() -> None:
    with pytest.raises(ValueError, match="same exact chance"):
        state([measured(counts(1, 4), blind=1 / k) for k in (2, 2, 2, 2, 3)], draws())


def test_a_single_class_leaves_no_room_for_an_advantage() -> None:
    with pytest.raises(PerfectTwin):
        state([measured(counts(4, 4), blind=1.0)], draws())


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -0.1, 1.1])
@pytest.mark.parametrize("side", ["attack", "outsider", "rest"])
def test_a_score_that_is_missing_or_impossible_is_never_dropped(bad: float, side: str) -> None:
    rows = {"attack": counts(3, 6), "outsider": counts(2, 6), "rest": counts(1, 6)}
    rows[side] = rows[side].copy()
    rows[side][4] = bad
    with pytest.raises(ValueError, match=r"must be numbers in \[0, 1\]"):
        state([measured(rows["attack"], {"a": rows["outsider"]}, {"b": rows["rest"]})], draws())


def test_scores_of_other_rows_than_the_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="outsider twin 'a'"):
        state([measured(counts(1, 4), {"a": counts(1, 5)}, {"b": counts(1, 4)})], draws())
    with pytest.raises(ValueError, match="the attack"):
        state([Measured(names(4), counts(1, 3), {}, {}, blind=0.5)], draws())


def test_no_rows_and_a_row_counted_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one scored row"):
        state([Measured((), numpy.array([]), {}, {}, blind=0.5)], draws())
    with pytest.raises(ValueError, match="scored once"):
        state([Measured(("a", "a"), counts(1, 2), {}, {}, blind=0.5)], draws())


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.5])
def test_an_impossible_chance_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="exact chance"):
        state([measured(counts(1, 4), blind=bad)], draws())


def test_a_judged_metric_without_a_twin_on_either_side_is_refused() -> None:
    rows = counts(3, 6)
    for outsider, rest in ((None, {"b": rows}), ({"a": rows}, None), (None, None)):
        with pytest.raises(ValueError, match="a twin of each kind"):
            state([measured(rows, outsider, rest)], draws())


def test_a_metric_that_is_not_judged_may_lack_a_twin() -> None:
    one = state([measured(counts(5, 6), {"a": counts(3, 6)})], draws(), judged=False)
    assert one.rest is None
    assert gain(one).value == pytest.approx((5 / 6 - 1 / 2) / (1 / 2))
    none = state([measured(counts(5, 6))], draws(), judged=False)
    assert (none.outsider, none.rest, none.advantage) == (None, None, None)
    assert none.found.value == pytest.approx(5 / 6)


def test_a_twin_that_is_always_right_fails_a_judged_metric_and_leaves_another_without_advantage() -> None:
    perfect = measured(counts(3, 6), {"a": counts(6, 6)}, {"b": counts(1, 6)})
    with pytest.raises(PerfectTwin):
        state([perfect], draws())
    assert state([perfect], draws(), judged=False).advantage is None
