"""The advantage, its interval and its p-value, against hand-made rows, exact probabilities and simulation."""

from __future__ import annotations

import math

import numpy
import pytest
from scipy import stats

from sidelight.audits.statistics import LEAK, Advantage, Values, advantage, advantage_over_chance, interval
from sidelight.audits.statistics.advantage import p_value

from .rows import ROWS, counts, draws, mixed


def test_advantage_is_the_share_of_what_the_twin_leaves_open() -> None:
    found = advantage(counts(130, 200), counts(60, 200), draws())
    assert found is not None
    assert found.value == pytest.approx((0.65 - 0.3) / (1 - 0.3))
    assert found.low < found.value < found.high
    assert found.p < 1e-6


def test_an_attack_below_its_twin_has_a_negative_advantage() -> None:
    worse = advantage(counts(20, 200), counts(60, 200), draws())
    assert worse is not None
    assert worse.value == pytest.approx(-0.2 / 0.7)
    assert worse.high < 0
    assert worse.p > 0.999


def test_an_attack_like_its_twin_has_an_interval_around_no_advantage() -> None:
    twin = counts(60, 200)
    found = advantage(twin, twin, draws())
    assert found is not None
    assert found.low < found.value == 0 < found.high < LEAK
    assert 0.5 < found.p < 1


def test_a_twin_that_is_always_right_leaves_no_advantage_to_speak_of() -> None:
    assert advantage(counts(40, 40), counts(40, 40), draws()) is None
    assert advantage(counts(10, 40), counts(40, 40), draws()) is None


@pytest.mark.parametrize("right", [0, 40])
def test_an_attack_that_is_always_right_or_always_wrong_still_has_an_interval_of_some_width(right: int) -> None:
    found = advantage(counts(right, 40), counts(8, 40), draws())
    assert found is not None
    assert found.value == pytest.approx((right / 40 - 0.2) / 0.8)
    assert found.low < found.value <= found.high if right else found.low <= found.value < found.high


@pytest.mark.parametrize(("attack", "blind"), [(0.5, 0.5), (1.0, 0.0), (0.0, 0.5), (0.75, 0.25)])
@pytest.mark.parametrize("rows", [1, 50])
def test_scores_that_are_all_alike_have_a_finite_interval_of_some_width(attack: float, blind: float, rows: int) -> None:
    found = advantage(numpy.full(rows, attack), numpy.full(rows, blind), draws())
    assert found is not None
    assert all(map(math.isfinite, found))
    assert found.low <= found.value <= found.high
    assert found.low < found.high
    assert 0 < found.p <= 1


def test_the_same_state_of_the_generator_gives_the_same_numbers() -> None:
    attack, blind = draws(1).random(80), draws(2).random(80)
    assert advantage(attack, blind, draws(4)) == advantage(attack, blind, draws(4))
    assert advantage(attack, blind, draws(4)) != advantage(attack, blind, draws(5))


@pytest.mark.parametrize("rows", [100, 300])
@pytest.mark.parametrize(("blind", "gain"), [(0.1, 0.3), (0.3, 0.1), (0.6, 0.6)])
def test_intervals_of_counts_cover_a_planted_advantage(rows: int, blind: float, gain: float) -> None:
    generator = draws(5)
    found = [_found(*_planted(blind, gain, rows, generator), generator) for _ in range(400)]
    covered = numpy.mean([f.low <= gain <= f.high for f in found])
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize("blind", [0.05, 0.4, 0.8])
def test_p_is_at_most_a_fortieth_in_about_a_fortieth_of_attacks_on_the_boundary(blind: float) -> None:
    generator = draws(6)
    found = [p_value(*_planted(blind, LEAK, ROWS, generator)) for _ in range(2000)]
    assert numpy.mean(numpy.array(found) <= 0.025) <= 0.028


def test_p_goes_far_below_what_resampling_can_reach() -> None:
    found = advantage(counts(250, 300), counts(60, 300), draws())
    assert found is not None
    assert 0 < found.p < 1e-20


def test_a_small_gain_on_most_rows_that_is_lost_on_a_few_is_seldom_called_a_leak() -> None:
    generator = draws(7)
    twins = generator.binomial(12, generator.beta(2, 3, (600, 100))) / 12
    fails = generator.random(twins.shape) < 0.05
    gain = (LEAK * 0.6 + 0.05 * 0.4) / (0.95 * 0.6)  # an advantage of LEAK over twins with the mean 0.4
    attacks = numpy.where(fails, 0, twins + gain * (1 - twins))
    found = [p_value(attack, twin) for attack, twin in zip(attacks, twins, strict=True)]
    assert numpy.mean(numpy.array(found) <= 0.025) <= 0.035


def test_p_of_fractions_is_near_the_t_test_of_their_contrast() -> None:
    generator = draws(8)
    attack, blind = generator.beta(3, 3, 300), generator.beta(2, 3, 300)
    plain = stats.ttest_1samp(attack - 0.95 * blind - 0.05, 0, alternative="greater").pvalue
    assert plain < 0.01
    assert math.log(p_value(attack, blind)) == pytest.approx(math.log(plain), rel=0.15)


def _planted(blind: float, gain: float, rows: int, generator: numpy.random.Generator) -> tuple[Values, Values]:
    """Paired rows: the attack is right where the twin is, and on a share of the other rows."""
    twin = mixed(blind, rows, generator)
    return numpy.maximum(twin, mixed(gain, rows, generator)), twin


def _found(attack: Values, blind: Values, generator: numpy.random.Generator) -> Advantage:
    found = advantage(attack, blind, generator)
    assert found is not None
    return found


# --- over a chance that is known exactly -----------------------------------------------------------------------


def test_over_a_known_chance_the_exact_interval_is_carried_over() -> None:
    attack = counts(40, 100)
    found = advantage_over_chance(attack, 0.2, interval(attack, draws()))
    low, high = stats.beta.ppf(0.025, 40, 61), stats.beta.ppf(0.975, 41, 60)
    assert found[:3] == pytest.approx((0.25, (low - 0.2) / 0.8, (high - 0.2) / 0.8), abs=1e-9)


@pytest.mark.parametrize("hits", [0, 1, 28, 40, 100])
def test_over_a_known_chance_p_of_counts_is_the_exact_binomial_one(hits: int) -> None:
    attack = counts(hits, 100)
    exact = stats.binomtest(hits, 100, 0.2 + LEAK * 0.8, alternative="greater").pvalue
    assert advantage_over_chance(attack, 0.2, interval(attack, draws())).p == pytest.approx(exact, rel=1e-9)


def test_over_a_known_chance_fractions_have_a_p_that_agrees_with_their_interval() -> None:
    strong, weak = (counts(hits, 100) * 0.5 + 0.25 for hits in (90, 5))
    assert advantage_over_chance(strong, 0.25, interval(strong, draws())).p < 1e-6
    assert advantage_over_chance(weak, 0.25, interval(weak, draws())).p > 0.3
