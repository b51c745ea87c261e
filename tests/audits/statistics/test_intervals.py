"""Intervals of a share, of a mean, and over victims, against tables, quantiles and simulation."""

from __future__ import annotations

import math

import numpy
import pytest
from scipy import stats

from sidelight.audits.statistics import exact_count, interval, t_interval

from .rows import counts, draws


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


@pytest.mark.parametrize(("successes", "rows"), [(0, 40), (3, 40), (17, 60), (299, 300), (300, 300)])
def test_counts_take_the_exact_interval_that_scipy_finds(successes: int, rows: int) -> None:
    other = stats.binomtest(successes, rows).proportion_ci(0.95, method="exact")
    assert interval(counts(successes, rows), draws()) == pytest.approx((successes / rows, *other), abs=1e-9)


def test_all_ones_and_all_zeros_have_the_bounds_that_can_be_written_down() -> None:
    low = 0.025 ** (1 / 50)
    assert interval(counts(50, 50), draws()) == pytest.approx((1, low, 1), abs=1e-9)
    assert interval(counts(0, 50), draws()) == pytest.approx((0, 0, 1 - low), abs=1e-9)


@pytest.mark.parametrize(
    "values", [[0.5], [0.25] * 12, [1 / 3] * 7, [1.0], [0.0], [0.2, 0.9], [0.1, 0.1, 0.4], [1.0] * 49 + [0.9]]
)
def test_few_or_equal_fractions_have_a_finite_interval_of_some_width(values: list[float]) -> None:
    found = interval(numpy.array(values), draws())
    assert all(map(math.isfinite, found))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


def test_fractions_have_an_interval_that_follows_their_skew() -> None:
    values = numpy.array([0.0] * 60 + [0.1] * 20 + [0.5] * 10 + [1.0] * 10)
    found = interval(values, draws())
    assert found.value == pytest.approx(0.17)
    assert found.high - found.value > found.value - found.low > 0


def test_fractions_are_never_less_certain_than_counts_of_the_same_mean() -> None:
    values = numpy.array([0.0] * 49 + [0.5])  # most resamples have rows all alike
    assert interval(values, draws()).high <= stats.beta.ppf(0.975, 1.5, 49.5) + 1e-12


def test_many_even_fractions_have_nearly_the_interval_of_the_normal_distribution() -> None:
    values = numpy.linspace(0, 1, 1000)
    found = interval(values, draws())
    half = 1.96 * values.std() / math.sqrt(1000)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.002)


@pytest.mark.parametrize("name", ["low", "high"])
def test_fifty_skewed_documents_cover_their_true_mean(name: str) -> None:
    generator = draws(3)
    low, high = generator.beta(1, 5, (400, 50)), numpy.minimum(generator.beta(3, 1, (400, 50)) * 1.3, 1)
    rows, true = {"low": (low, 1 / 6), "high": (high, _mean_of_high())}[name]
    found = [interval(values, generator) for values in rows]
    assert 0.92 <= numpy.mean([f.low <= true <= f.high for f in found]) <= 0.98


def _mean_of_high() -> float:
    """Of min(1.3 x, 1) where x has the density 3 x^2."""
    edge = 1 / 1.3
    return float(1.3 * 3 / 4 * edge**4 + 1 - edge**3)


def test_five_victims_have_the_interval_of_the_t_table() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    half = 2.776 * math.sqrt(0.025) / math.sqrt(5)  # t table, 4 degrees of freedom
    assert t_interval(values) == pytest.approx((0.3, 0.3 - half, 0.3 + half), abs=1e-4)


def test_ends_over_victims_are_clipped_to_what_is_possible() -> None:
    found = t_interval([0.0, 0.9, 1.0, 1.0, 1.0], 0.0, 1.0)
    assert found.high == 1.0
    assert found.low > 0
    assert t_interval([0.0, 0.0, 0.0, 0.0, 0.9], 0.0, 1.0).low == 0.0


def test_one_victim_has_no_interval_over_victims() -> None:
    with pytest.raises(ValueError, match="at least two"):
        t_interval([0.5])


def test_a_share_is_stored_with_its_exact_interval_and_its_rows() -> None:
    stored = exact_count("accuracy", [True] * 30 + [False] * 10)
    low, high = stats.beta.ppf(0.025, 30, 11), stats.beta.ppf(0.975, 31, 10)
    assert (stored["metric"], stored["value"], stored["n"]) == ("accuracy", 0.75, 40)
    assert (stored["low"], stored["high"]) == pytest.approx((low, high), abs=1e-9)


def test_a_share_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        exact_count("accuracy", [])
