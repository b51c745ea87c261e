"""The analytic Gaussian mechanism against its definition, computed another way."""

from __future__ import annotations

import pytest
from scipy.integrate import quad
from scipy.stats import norm

from sidelight.system.gaussian import delta_of, standard_deviation


def hockey_stick(sensitivity: float, deviation: float, epsilon: float) -> float:
    """The divergence that defines delta, integrated: max(p - e^epsilon q, 0) of two Gaussians apart."""
    p, q = norm(sensitivity, deviation), norm(0, deviation)

    def excess(x: float) -> float:
        return max(p.pdf(x) - float(2.718281828459045**epsilon) * q.pdf(x), 0.0)

    middle = sensitivity / 2 + epsilon * deviation**2 / sensitivity
    return float(quad(excess, middle, middle + 40 * deviation, limit=500)[0])


@pytest.mark.parametrize(("sensitivity", "deviation", "epsilon"), [(1, 1, 0.5), (1.4142, 2, 1), (5, 3, 2), (2, 0.7, 4)])
def test_delta_is_the_integral_that_defines_it(sensitivity: float, deviation: float, epsilon: float) -> None:
    assert delta_of(sensitivity, deviation, epsilon) == pytest.approx(hockey_stick(sensitivity, deviation, epsilon))


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 1, 4, 20, 1000])
def test_the_deviation_keeps_its_delta_and_no_smaller_one_does(epsilon: float) -> None:
    found = standard_deviation(3.0, epsilon, 1e-5)
    assert delta_of(3.0, found, epsilon) == pytest.approx(1e-5, rel=1e-6)
    assert delta_of(3.0, 0.99 * found, epsilon) > 1e-5


def test_less_noise_is_needed_than_by_the_classical_formula() -> None:
    """Dwork and Roth 2014, theorem A.1: sqrt(2 ln(1.25 / delta)) / epsilon, for epsilon below 1."""
    classical = (2 * 11.736069016284437) ** 0.5 / 0.5  # ln(1.25e5)
    assert 0.5 * classical < standard_deviation(1.0, 0.5, 1e-5) < classical


def test_what_no_label_changes_needs_no_noise() -> None:
    assert standard_deviation(0.0, 1.0, 1e-5) == 0.0
