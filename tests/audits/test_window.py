"""Jobs side by side: drawn a few ahead, forgotten when they are done, stopped when the caller leaves."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from sidelight.audits.sandbox import window


class Result:
    """Something whose life can be watched."""


def test_ten_thousand_jobs_are_drawn_a_few_ahead_and_forgotten_when_they_are_done() -> None:
    drawn, alive, most = 0, weakref.WeakSet[Result](), 0

    def job() -> Result:
        result = Result()
        alive.add(result)
        return result

    def jobs() -> Iterator[Callable[[], Result]]:
        nonlocal drawn
        for drawn in range(1, 10_001):  # noqa: B007 - seen from outside
            yield job

    places = set()
    for done, (at, _) in enumerate(window.side_by_side(jobs(), 3, lambda: None)):
        places.add(at)
        assert drawn <= done + 1 + window.AHEAD * 3
        most = max(most, len(alive))
    assert places == set(range(10_000))
    assert most <= window.AHEAD * 3 + 1  # those in flight, and the one that this loop holds
    del _
    assert len(alive) == 0


def test_leaving_early_or_an_error_among_the_jobs_stops_the_rest() -> None:
    stopped: list[str] = []
    ended = threading.Event()

    def stop() -> None:
        stopped.append("")
        ended.set()

    found = window.side_by_side(iter(lambda: ended.wait, None), 2, stop)  # without end
    ended.set()
    assert next(found)[1] is True
    ended.clear()
    found.close()  # type: ignore[attr-defined]
    assert len(stopped) == 1

    def failing() -> bool:
        raise ArithmeticError("in a job")

    with pytest.raises(ArithmeticError, match="in a job"):
        list(window.side_by_side([failing, ended.wait], 2, stop))
    assert len(stopped) == 2
