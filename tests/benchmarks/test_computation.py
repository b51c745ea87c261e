"""What is said of costs to the same accuracy, and of a contender that never got there."""

from __future__ import annotations

import pytest

from sidelight.benchmarks.apart import Costs, PartyCost
from sidelight.benchmarks.computation import Reached, bars
from sidelight.system.roles import DEVICE


def reached(operations: int, traffic: float, whole: bool = True) -> Reached:
    return Reached(2, whole, Costs(0.9, traffic, 0.0, {DEVICE: PartyCost(0, 0.0, operations)}))


def test_savings_are_shares_of_what_the_other_takes() -> None:
    found = {"fedmobillm": reached(5, 7.0), "fedlora": reached(100, 70.0)}
    computation, traffic = bars(found, "fedlora", (95.0, 93.0))
    assert (computation.found, traffic.found) == pytest.approx((95.0, 90.0))
    assert (computation.bar, traffic.reached) == (95.0, False)


def test_where_the_other_never_became_as_accurate_a_saving_is_a_least_one() -> None:
    found = {"fedmobillm": reached(5, 7.0), "fedlora": reached(100, 70.0, whole=False)}
    computation, traffic = bars(found, "fedlora", (94.0, 93.0))
    assert "did not become as accurate, at least" in computation.claim
    assert (computation.reached, traffic.reached) == (True, None)  # a bound below the bar decides nothing
