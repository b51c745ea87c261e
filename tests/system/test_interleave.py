"""Whose turn it is: in turns, by pace in event time, or as a log says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch

from sidelight.system.errors import UsageError
from sidelight.system.message import Party
from sidelight.system.protocols import interleave
from sidelight.system.roles import Device, device_name
from sidelight.system.wire import Wire

A, B, C = (device_name(i) for i in range(3))


class Worker(Device):
    """Notes its name at each of so many steps."""

    def __init__(self, party: Party, steps: int, pace: float, log: list[Party]) -> None:
        self.party, self._steps, self.pace, self._log = party, steps, pace, log

    def work(self, wire: Wire) -> Iterator[None]:
        for _ in range(self._steps):
            self._log.append(self.party)
            yield

    def predict(self, texts: list[str]) -> torch.Tensor:
        raise NotImplementedError


def order_of(
    steps: Sequence[int], paces: Sequence[float] = (1.0, 1.0, 1.0), order: Sequence[Party] = ()
) -> list[Party]:
    log: list[Party] = []
    workers = [Worker(name, *both, log) for name, both in zip((A, B, C), zip(steps, paces, strict=True), strict=True)]
    interleave(workers, Wire({}, lambda _: None), order)
    return log


def test_devices_of_one_pace_take_turns_until_each_is_done() -> None:
    assert order_of((3, 1, 2)) == [A, B, C, A, C, A]


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_paces_order_steps_by_the_time_at_which_they_end(scale: float) -> None:
    """A ends steps at 1, 2, 3; B, twice as fast, at 1/2, 1, 3/2, 2; C at 2. Of one time, A goes before B before C."""
    assert order_of((3, 4, 1), (scale, 2 * scale, scale / 2)) == [B, A, B, B, A, B, C, A]


def test_a_given_order_is_followed_and_what_is_left_goes_by_pace() -> None:
    assert order_of((2, 2, 1), order=[C, B, B]) == [C, B, B, A, A]


def test_an_order_that_names_no_device_is_refused() -> None:
    with pytest.raises(UsageError, match="the order names device-9, which is no device of this run; give device-0"):
        order_of((1, 1, 1), order=[A, device_name(9)])


def test_a_device_that_is_done_is_passed_over_in_a_given_order() -> None:
    assert order_of((1, 2, 0), order=[A, A, A, C, B, B]) == [A, B, B]
