"""Lower bounds on privacy loss against what is known of them."""

from __future__ import annotations

import math
from functools import partial

import numpy
import pytest
from scipy import stats

from sidelight.audits.privacy.bounds import (
    CONFIDENCE,
    ERROR,
    Errors,
    at_best,
    at_least,
    epsilon_at_least,
    highest_share,
    mu_at_least,
    one_run_epsilon,
    one_run_p_value,
)
from sidelight.system.gaussian import epsilon_of

MANY = 20_000


def counted(false_positives: int, negatives: int, false_negatives: int, positives: int) -> Errors:
    numbers = (false_positives, negatives, false_negatives, positives)
    return Errors(*(numpy.array([float(one)]) for one in numbers))


@pytest.mark.parametrize(("hits", "rows"), [(0, 50), (3, 50), (49, 50), (50, 50)])
def test_the_upper_end_is_where_so_few_hits_become_unlikely(hits: int, rows: int) -> None:
    end = float(highest_share(numpy.array([float(hits)]), numpy.array([float(rows)]), 0.01)[0])
    assert end == 1.0 if hits == rows else stats.binom.cdf(hits, rows, end) == pytest.approx(0.01, rel=1e-6)


def test_mu_is_what_both_upper_ends_allow() -> None:
    """Of no error in 2,000 on either side: two exact ends at half the error."""
    end = 1 - (ERROR / 2) ** (1 / 2000)
    wanted = 2 * stats.norm.isf(end)
    assert float(mu_at_least(counted(0, 2000, 0, 2000))[0]) == pytest.approx(wanted, rel=1e-6)
    assert float(mu_at_least(counted(1000, 2000, 1000, 2000))[0]) == 0.0


def test_epsilon_is_the_larger_of_both_sides() -> None:
    a, b = counted(0, 1000, 900, 1000), counted(900, 1000, 0, 1000)
    end, missed = (
        1 - (ERROR / 2) ** (1 / 1000),
        float(highest_share(numpy.array([900.0]), numpy.array([1e3]), ERROR / 2)[0]),
    )
    wanted = math.log((1 - missed - 1e-3) / end)
    for one in (a, b):
        assert float(epsilon_at_least(one, 1e-3)[0]) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("mu", [0.25, 1.0, 3.0])
def test_the_bound_on_mu_is_close_below_it_and_seldom_above(mu: float) -> None:
    found = []
    for seed in range(100):
        generator = numpy.random.default_rng([seed, int(mu * 100)])
        coins = generator.random(10_000) < 0.5
        found.append(at_least(generator.normal(size=10_000) + mu * coins, coins, mu_at_least))
    assert max(found) <= mu
    assert numpy.median(found) == pytest.approx(mu - 0.22, abs=0.12)


@pytest.mark.parametrize("bound", [mu_at_least, partial(epsilon_at_least, delta=0.0)])
def test_scores_that_say_nothing_give_no_bound(bound: object) -> None:
    generator = numpy.random.default_rng(1)
    coins = generator.random(MANY) < 0.5
    assert callable(bound)
    for scores in (generator.normal(size=MANY), numpy.zeros(MANY)):
        assert at_least(scores, coins, bound) < 0.02


def test_scores_that_are_right_about_all_reach_what_so_many_rows_can_show() -> None:
    coins = numpy.arange(MANY) % 2 == 0
    wanted = 2 * stats.norm.isf(1 - (ERROR / 2) ** (4 / MANY))
    assert at_least(coins.astype(float), coins, mu_at_least) == pytest.approx(wanted, rel=1e-3)
    assert at_best(coins, mu_at_least) == pytest.approx(wanted, rel=1e-3)


def test_what_an_audit_can_show_at_most_is_counted_on_the_half_that_is_counted() -> None:
    """400 and 600 of 1,000 rows, none wrong: ln((1 - u) / u') at their own exact upper ends."""
    coins = numpy.concatenate([numpy.ones(1000, dtype=bool), numpy.arange(1000) < 400])
    few, many = (1 - (ERROR / 2) ** (1 / rows) for rows in (400, 600))
    wanted = math.log(max((1 - few) / many, (1 - many) / few))
    assert at_best(coins, partial(epsilon_at_least, delta=0.0)) == pytest.approx(wanted, rel=1e-6)


def test_the_half_that_a_threshold_is_chosen_on_is_not_counted() -> None:
    """The first half separates, the second does not."""
    coins = numpy.arange(MANY) % 2 == 0
    scores = numpy.where(numpy.arange(MANY) < MANY // 2, coins, 0).astype(float)
    assert at_least(scores, coins, mu_at_least) == 0.0


def test_the_label_that_is_kept_gives_the_epsilon_of_randomised_response() -> None:
    """Of K = 5 classes at epsilon 2, the released label is the second in 1 / (1 + 4 e^-2) and 1 / (e^2 + 4)."""
    generator = numpy.random.default_rng(3)
    coins = generator.random(200_000) < 0.5
    kept = generator.random(200_000) < math.exp(2) / (math.exp(2) + 4)
    others = generator.integers(1, 5, 200_000)
    released = numpy.where(kept, coins, (coins + others) % 5).astype(int)
    scores = (released == 1).astype(float) - (released == 0)
    assert 1.85 < at_least(scores, coins, partial(epsilon_at_least, delta=0.0)) <= 2.0


# --- one run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guesses", "right"), [(20, 20), (50, 40), (50, 26)])
def test_without_delta_it_is_the_tail_of_a_binomial(guesses: int, right: int) -> None:
    wanted = stats.binomtest(right, guesses, 1 / (1 + math.exp(-0.7)), alternative="greater").pvalue
    assert one_run_p_value(0.7, 0.0, 100, guesses, right) == pytest.approx(wanted)


def test_guesses_that_are_all_right_have_a_closed_form() -> None:
    """q^r = 1 - confidence, q = 1 / (1 + e^-epsilon)."""
    q = (1 - CONFIDENCE) ** (1 / 200)
    assert one_run_epsilon(0.0, 1000, 200, 200) == pytest.approx(math.log(q / (1 - q)), rel=1e-4)


def test_delta_adds_what_a_sum_over_all_that_is_less_gives() -> None:
    """The theorem's second term, one i after another."""
    epsilon, delta, canaries, guesses, right = 1.0, 1e-3, 300, 60, 51
    binomial = stats.binom(guesses, 1 / (1 + math.exp(-epsilon)))
    largest = max(sum(binomial.pmf(k) for k in range(right - i, right)) / i for i in range(1, right + 1))
    wanted = binomial.sf(right - 1) + 2 * canaries * delta * largest
    assert one_run_p_value(epsilon, delta, canaries, guesses, right) == pytest.approx(wanted)


def test_guesses_by_coin_show_nothing() -> None:
    assert one_run_epsilon(1e-5, 1000, 200, 100) == 0.0
    assert one_run_epsilon(1e-5, 1000, 200, 0) == 0.0


def test_randomised_response_on_every_canary_is_bounded_by_its_epsilon() -> None:
    """Guesses that are right with probability e^epsilon / (1 + e^epsilon) are what the bound is tight for."""
    generator = numpy.random.default_rng(5)
    right = generator.binomial(2000, 1 / (1 + math.exp(-1.0)), size=200)
    found = [one_run_epsilon(0.0, 2000, 2000, int(one)) for one in right]
    assert sum(one > 1.0 for one in found) <= 4  # 0.5 expected at this confidence
    assert float(numpy.median(found)) > 0.8


def test_the_bound_in_terms_of_mu_is_the_epsilon_that_is_printed() -> None:
    assert epsilon_of(0.5, 1e-5) == pytest.approx(1.99, abs=0.05)
