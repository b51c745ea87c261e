"""Works in turns, by a clock that the test moves."""

from __future__ import annotations

from functools import partial

from sidelight.benchmarks.timing import best, in_turns


def test_works_take_turns_in_changing_order_and_the_first_turn_is_left_out() -> None:
    called: list[str] = []

    def work(name: str) -> str:
        called.append(name)
        return f"{name}{called.count(name)}"

    assert in_turns({name: partial(work, name) for name in "abc"}, 2) == {
        "a": ["a2", "a3"],
        "b": ["b2", "b3"],
        "c": ["c2", "c3"],
    }
    assert called == [*"abc", *"cba", *"abc"]


def test_the_best_of_some_turns_is_not_the_one_that_warms_up() -> None:
    now, lasts = 0, [1, 7, 5, 6]

    def work() -> None:
        nonlocal now
        now += lasts.pop(0)

    assert best(work, 3, lambda: now) == 5
    assert lasts == []
