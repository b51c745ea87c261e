"""Orders of service against values worked out by hand and against every order there is."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from sidelight.system import schedule
from sidelight.system.schedule import RULES, Job, Rule, bound, finish, largest_tail, lookahead, order

# Served at once, job 0 ends at 10 and job 1 at 12, its tail at 32. After a wait of 1, job 1 ends at 3, its tail at 23,
# and job 0 at 13.
WORTH_WAITING = (Job(0, 10, 0), Job(1, 2, 20))

# Largest tails first: job 1 ends at 2 (its tail at 11), job 2 at 6 (11), job 0 at 9 (10). As they came: job 0 at 3 (4),
# job 1 at 5 (14), job 2 at 9 (14).
ALL_HERE = (Job(0, 3, 1), Job(0, 2, 9), Job(0, 4, 5))

# By tail: job 0 ends at 4, job 1 at 5 (13), job 2 at 7 (10), job 3 at 8 (14). With a wait of 1: job 1 at 2 (10), job 2
# at 4 (7), a wait until 6, job 3 at 7 (13), job 0 at 11 (11). None ends before 13: job 3 comes at 6 and needs 1 + 6.
FOUR = (Job(0, 4, 0), Job(1, 1, 8), Job(2, 2, 3), Job(6, 1, 6))


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (WORTH_WAITING, {"arrival": 32, "tail": 32, "lookahead": 23}),
        (ALL_HERE, {"arrival": 14, "tail": 11, "lookahead": 11}),
        (FOUR, {"arrival": 14, "tail": 14, "lookahead": 13}),
        ((Job(5, 1, 2),), {"arrival": 8, "tail": 8, "lookahead": 8}),
    ],
)
def test_rules_end_when_worked_out_by_hand(jobs: tuple[Job, ...], expected: dict[Rule, float]) -> None:
    assert {rule: finish(jobs, order(rule, jobs)) for rule in RULES} == expected


def test_who_came_first_is_served_first_and_of_equal_tails_the_first_as_well() -> None:
    jobs = [Job(3, 1, 0), Job(1, 1, 0), Job(2, 1, 0)]
    assert order("arrival", jobs) == [1, 2, 0]
    assert order("tail", [Job(0, 1, 5)] * 3) == [0, 1, 2]


def test_where_all_have_arrived_every_rule_but_arrival_takes_the_largest_tail() -> None:
    jobs = [Job(2, 1, 4), Job(0, 1, 6), Job(1, 1, 9)]
    assert order("arrival", jobs, now=3) == [1, 2, 0]
    assert order("tail", jobs, now=3) == order("lookahead", jobs, now=3) == [2, 1, 0]


def drawn(random: Random, devices: int) -> list[Job]:
    return [Job(random.randint(0, 20), random.randint(1, 9), random.randint(0, 25)) for _ in range(devices)]


def brute_force(jobs: list[Job]) -> float:
    """The earliest end over all orders, each of which waits wherever its next job has not come."""
    ends = []
    for one in permutations(jobs):
        free, last = 0.0, 0.0
        for job in one:
            start = job.ready if job.ready > free else free
            free = start + job.work
            last = max(last, free + job.tail)
        ends.append(last)
    return min(ends)


@pytest.mark.parametrize("devices", [2, 3, 5, 6])
def test_lookahead_is_the_best_of_all_orders_and_none_ends_before_the_bound(devices: int) -> None:
    random = Random(devices)
    for _ in range(60):
        jobs = drawn(random, devices)
        found, best = lookahead(jobs), brute_force(jobs)
        assert sorted(found) == list(range(devices))
        assert finish(jobs, found) == best
        assert bound(jobs) <= best <= finish(jobs, largest_tail(jobs))


def test_with_no_node_left_it_is_no_worse_than_the_largest_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "NODES", 0)
    assert lookahead(WORTH_WAITING) == largest_tail(WORTH_WAITING)
