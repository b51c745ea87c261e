"""Holm's correction, the verdict and the success of a control."""

from __future__ import annotations

import numpy
import pytest

from sidelight.audits.statistics import Advantage, Interval, holm, succeeded, verdict

from .rows import draws


def test_holm_multiplies_the_smallest_by_all_the_next_by_one_fewer_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # 3*.01, 2*.03, 4*.005


def test_holm_never_goes_above_one_and_takes_equal_values_together() -> None:
    assert holm([0.9, 0.9, 0.5]) == [1.0, 1.0, 1.0]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.3]) == [0.3]
    assert holm([]) == []


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1])
def test_holm_refuses_what_is_no_p_value(bad: float) -> None:
    with pytest.raises(ValueError, match=r"p-values must lie in \[0, 1\]"):
        holm([0.5, bad])


def test_holm_keeps_any_false_rejection_among_forty_at_its_level() -> None:
    families = draws(1).random((2000, 40))
    assert numpy.mean([min(holm(family)) <= 0.025 for family in families]) == pytest.approx(0.025, abs=0.011)


@pytest.mark.parametrize(
    ("low", "high", "adjusted", "controlled", "expected"),
    [
        (0.06, 0.20, 0.025, False, "leaks"),
        (0.06, 0.20, 0.001, True, "leaks"),
        (0.06, 0.20, 0.026, True, "inconclusive"),  # the family is too large
        (0.05, 0.20, 0.001, True, "inconclusive"),  # not above the smallest leak
        (-0.10, 0.05, 1.0, True, "resists"),
        (-0.10, 0.05, 1.0, False, "inconclusive"),
        (-0.10, 0.06, 1.0, True, "inconclusive"),
    ],
)
def test_the_verdict_needs_both_bounds_to_leak_and_a_control_to_resist(
    low: float, high: float, adjusted: float, controlled: bool, expected: str
) -> None:
    found = Advantage((low + high) / 2, low, high, min(adjusted, 0.5))
    assert verdict(found, adjusted, controlled) == expected


def test_a_verdict_without_a_corrected_p_is_refused() -> None:
    with pytest.raises(ValueError, match="corrected p"):
        verdict(Advantage(0.2, 0.1, 0.3, 0.001), float("nan"), True)


def test_a_control_succeeds_from_one_half_on() -> None:
    assert succeeded(Interval(0.7, 0.5, 0.9))
    assert succeeded(Advantage(0.7, 0.6, 0.9, 0.0))
    assert not succeeded(Interval(0.9, 0.49, 1.0))
