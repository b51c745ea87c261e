"""Intervals, advantage, verdict and the choice of a twin, against tables, quantiles and simulation."""

from __future__ import annotations

import math

import numpy
import pytest
from scipy.stats import beta

from sidelight.audits.statistics import Interval, Values, advantage, best_of, exact_count, interval, verdict

ROWS = 300


def draws(seed: int = 0) -> numpy.random.Generator:
    return numpy.random.default_rng(seed)


def counts(successes: int, rows: int) -> Values:
    return numpy.array([1.0] * successes + [0.0] * (rows - successes))


def mixed(share: float, rows: int, generator: numpy.random.Generator) -> Values:
    return (generator.random(rows) < share).astype(numpy.float64)


# --- intervals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "rows", "low", "high"),
    [
        (10, 100, 0.0490, 0.1762),  # Clopper-Pearson tables, 95 %
        (5, 10, 0.1871, 0.8129),
        (1, 10, 0.0025, 0.4450),
    ],
)
def test_counts_take_the_exact_interval_of_the_tables(successes: int, rows: int, low: float, high: float) -> None:
    found = interval(counts(successes, rows), draws())
    assert found == pytest.approx((successes / rows, low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "rows"), [(3, 40), (17, 60), (299, 300)])
def test_counts_take_quantiles_of_the_beta_distribution(successes: int, rows: int) -> None:
    low = beta.ppf(0.025, successes, rows - successes + 1)
    high = beta.ppf(0.975, successes + 1, rows - successes)
    assert interval(counts(successes, rows), draws()) == pytest.approx((successes / rows, low, high), abs=1e-9)


def test_all_ones_and_all_zeros_have_the_bounds_that_can_be_written_down() -> None:
    low = 0.025 ** (1 / 50)
    assert interval(counts(50, 50), draws()) == pytest.approx((1, low, 1), abs=1e-9)
    assert interval(counts(0, 50), draws()) == pytest.approx((0, 0, 1 - low), abs=1e-9)


@pytest.mark.parametrize("values", [[0.5], [0.25] * 12, [1.0], [0.0], [0.2, 0.9], [0.1, 0.1, 0.4]])
def test_few_or_equal_fractions_have_a_finite_interval_around_their_mean(values: list[float]) -> None:
    found = interval(numpy.array(values), draws())
    assert all(map(math.isfinite, found))
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_the_bootstrap_over_documents_covers_the_mean_of_skewed_scores() -> None:
    generator = draws(3)
    true = 1 / 6  # of a beta distribution with 1 and 5
    found = [interval(generator.beta(1, 5, 60), generator) for _ in range(300)]
    covered = sum(low <= true <= high for _, low, high in found) / len(found)
    assert covered >= 0.90


def test_a_share_is_stored_with_its_exact_interval_and_its_rows() -> None:
    stored = exact_count("accuracy", [True] * 30 + [False] * 10)
    low, high = beta.ppf(0.025, 30, 11), beta.ppf(0.975, 31, 10)
    assert (stored["metric"], stored["value"], stored["n"]) == ("accuracy", 0.75, 40)
    assert (stored["low"], stored["high"]) == pytest.approx((low, high), abs=1e-9)


# --- advantage -------------------------------------------------------------------------------------------------


def test_advantage_is_the_share_of_what_the_twin_leaves_open() -> None:
    blind = counts(60, 200)
    attack = counts(130, 200)
    found = advantage(attack, blind, draws())
    assert found is not None
    assert found.value == pytest.approx((0.65 - 0.3) / (1 - 0.3))
    assert found.low < found.value < found.high


def test_an_attack_like_its_twin_has_no_advantage_and_one_below_it_a_negative_one() -> None:
    twin = counts(60, 200)
    assert advantage(twin, twin, draws()) == pytest.approx((0, 0, 0))
    worse = advantage(counts(20, 200), twin, draws())
    assert worse is not None
    assert worse.value == pytest.approx(-0.2 / 0.7)
    assert worse.high < 0


def test_a_twin_that_is_always_right_leaves_no_advantage_to_speak_of() -> None:
    assert advantage(counts(40, 40), counts(40, 40), draws()) is None
    assert advantage(counts(10, 40), counts(40, 40), draws()) is None


@pytest.mark.parametrize("right", [0, 40])
def test_an_attack_that_is_always_right_or_always_wrong_still_has_an_interval_of_some_width(right: int) -> None:
    found = advantage(counts(right, 40), counts(8, 40), draws())
    assert found is not None
    assert found.value == pytest.approx((right / 40 - 0.2) / 0.8)
    assert found.low < found.value <= found.high if right else found.low <= found.value < found.high


def test_intervals_of_the_advantage_cover_a_planted_one() -> None:
    generator = draws(5)
    found = [advantage(*_planted(0.1, 0.3, generator), generator) for _ in range(300)]
    covered = sum(f is not None and f.low <= 0.3 <= f.high for f in found) / len(found)
    assert 0.91 <= covered <= 0.99


def _planted(blind: float, gain: float, generator: numpy.random.Generator) -> tuple[Values, Values]:
    """Paired rows: the attack is right where the twin is, and on a share of the other rows."""
    twin = mixed(blind, ROWS, generator)
    return numpy.maximum(twin, mixed(gain, ROWS, generator)), twin


def test_pure_noise_is_called_a_leak_in_at_most_one_audit_of_twenty() -> None:
    generator = draws(7)
    called = [_verdict(mixed(0.2, ROWS, generator), mixed(0.2, ROWS, generator), generator) for _ in range(300)]
    assert called.count("leaks") / len(called) <= 0.05


def test_a_planted_advantage_of_a_tenth_is_never_called_resistance_without_a_control() -> None:
    generator = draws(9)
    called = [_verdict(*_planted(0.1, 0.1, generator), generator) for _ in range(200)]
    assert "resists" not in called
    assert called.count("leaks") > 0


def test_a_planted_advantage_of_a_tenth_is_seldom_called_resistance_with_a_control() -> None:
    generator = draws(11)
    called = [_verdict(*_planted(0.1, 0.1, generator), generator, controlled=True) for _ in range(300)]
    assert called.count("resists") / len(called) <= 0.05


def _verdict(attack: Values, blind: Values, generator: numpy.random.Generator, controlled: bool = False) -> str:
    found = advantage(attack, blind, generator)
    assert found is not None
    return verdict(found, controlled)


# --- verdict ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "controlled", "expected"),
    [
        (0.06, 0.20, False, "leaks"),
        (0.06, 0.20, True, "leaks"),
        (0.05, 0.20, True, "inconclusive"),  # not above the smallest leak
        (-0.10, 0.05, True, "resists"),
        (-0.10, 0.05, False, "inconclusive"),
        (-0.10, 0.06, True, "inconclusive"),
    ],
)
def test_the_verdict_follows_the_bounds_and_needs_a_control_to_say_resists(
    low: float, high: float, controlled: bool, expected: str
) -> None:
    assert verdict(Interval((low + high) / 2, low, high), controlled) == expected


# --- the choice of a twin --------------------------------------------------------------------------------------


def test_the_best_of_twenty_noise_candidates_stays_at_chance() -> None:
    generator = draws(13)
    means = [_best_of_noise(generator).mean() for _ in range(200)]
    assert numpy.mean(means) == pytest.approx(0.5, abs=3 * 0.5 / math.sqrt(200 * ROWS) + 0.002)


def _best_of_noise(generator: numpy.random.Generator) -> Values:
    candidates = {f"{i:02d}": mixed(0.5, ROWS, generator) for i in range(20)}
    return best_of(candidates, generator.random(ROWS) < 0.5)[0]


def test_a_candidate_that_is_better_everywhere_is_chosen_for_both_halves() -> None:
    good, poor = counts(80, 100), counts(10, 100)
    half = numpy.arange(100) % 2 == 0
    values, name = best_of({"poor": poor, "good": good}, half)
    assert name == "good"
    assert values.tolist() == good.tolist()


def test_each_half_takes_the_candidate_that_is_best_on_the_other() -> None:
    half = numpy.arange(100) < 50
    first, second = counts(50, 100), counts(50, 100)[::-1].copy()
    values, name = best_of({"first": first, "second": second}, half)
    assert values.sum() == 0  # each candidate is good on the half on which it was not chosen for
    assert name == "first, second"


def test_rows_of_one_half_only_still_have_a_best_candidate() -> None:
    values, _ = best_of({"a": counts(1, 1)}, numpy.array([True]))
    assert values.tolist() == [1.0]
