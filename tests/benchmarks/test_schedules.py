"""The study of schedules: every order counted, no rule beats the best, and the same seed gives the same figures."""

from __future__ import annotations

import numpy as np
import pytest

from sidelight.benchmarks.schedules import SERVERS, best_of_all, fleet_of, gaps_of, jobs_of, savings_of
from sidelight.system.schedule import Job, finish


def test_the_best_of_all_orders_is_the_one_worked_out_by_hand() -> None:
    """To wait until 1 for the second, whose tail is long: 3 + 20. Served at once, the first ends at 10: 32."""
    assert best_of_all([Job(0, 10, 0), Job(1, 2, 20)]) == 23
    assert best_of_all([Job(0, 3, 1), Job(0, 2, 9), Job(0, 4, 5)]) == 11


@pytest.mark.parametrize("devices", [2, 5])
def test_no_rule_ends_before_the_best_order_and_lookahead_ends_with_it(devices: int) -> None:
    found = {gap.rule: gap for gap in gaps_of(devices, 30, np.random.default_rng(1))}
    assert set(found) == {"arrival", "tail", "lookahead"}
    assert all(gap.median >= -1e-9 for gap in found.values())
    assert found["lookahead"].worst == pytest.approx(0, abs=1e-9)
    assert found["arrival"].worst > 0.01


def test_nothing_is_saved_by_a_server_that_hardly_works_and_no_more_than_is_possible() -> None:
    busy, idle = (list(savings_of("phone-high", server, 4, 3, np.random.default_rng(2))) for server in (2.5e12, 1e16))
    assert all(0.01 < row.median <= row.most + 1e-9 for row in busy)
    assert all(abs(row.median) < 1e-3 for row in idle)


def test_a_fleet_is_drawn_from_its_profiles_and_repeats_with_its_seed() -> None:
    first, second = (fleet_of("mixed", 6, np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert all(load.memory <= profile.memory for profile, load in first)
    jobs = jobs_of(first, SERVERS[0], np.random.default_rng(4))
    assert finish(jobs, range(6)) >= best_of_all(jobs) > max(job.ready + job.work for job in jobs)
