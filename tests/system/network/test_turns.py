"""Whose training goes on: turns of equal time, each device once in line, and one's trouble is not the others'."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from sidelight.system.network.logs import Log
from sidelight.system.network.resident import Resident
from sidelight.system.network.turns import SLICE, Turns


class Worker:
    """Stands for a resident with so much to train: a turn is a wait of one slice."""

    def __init__(self, name: str, turns: int, told: list[str], fails: bool = False) -> None:
        self.device, self._left, self._told, self._fails = name, turns, told, fails
        self.users = 0
        self.at_work = 0
        self.most_at_work = 0

    def enter(self) -> None:
        self.users += 1

    def leave(self) -> None:
        self.users -= 1

    def train(self, seconds: float) -> bool:
        assert seconds == SLICE
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self._told.append(self.device)
        time.sleep(0.002)
        self.at_work -= 1
        if self._fails:
            raise ValueError("broken")
        self._left -= 1
        return self._left > 0


def run(workers: list[Any], threads: int) -> list[str]:
    failed: list[str] = []
    started = threading.Event()

    def told(resident: Resident, error: Exception) -> None:
        failed.append(resident.device)

    turns = Turns(threads, told)
    for worker in workers:
        turns.join(worker)
        turns.join(worker)
    started.set()
    while any(turns.waits(worker) for worker in workers):
        time.sleep(0.001)
    turns.close()
    return failed


def test_a_device_with_much_to_train_holds_up_nobody() -> None:
    told: list[str] = []
    workers = [Worker("long", 40, told), Worker("a", 3, told), Worker("b", 3, told)]
    assert run(workers, threads=1) == []
    assert max(at for at, name in enumerate(told) if name != "long") < 12  # of 46 turns
    assert {name: told.count(name) for name in set(told)} == {"long": 40, "a": 3, "b": 3}


@pytest.mark.parametrize("threads", [1, 3])
def test_a_device_is_trained_in_one_place_at_a_time_and_let_go_after(threads: int) -> None:
    told: list[str] = []
    workers = [Worker(str(i), 20, told) for i in range(4)]
    run(workers, threads)
    assert [worker.most_at_work for worker in workers] == [1] * 4
    assert [worker.users for worker in workers] == [0] * 4


def test_one_that_fails_is_told_and_the_others_go_on() -> None:
    told: list[str] = []
    workers = [Worker("bad", 5, told, fails=True), Worker("good", 5, told)]
    assert run(workers, threads=1) == ["bad"]
    assert told.count("good") == 5


@pytest.mark.parametrize("fields", [{"text": "hello"}, {"reason": [1.0]}, {"device": "x" * 300}, {"kind": "a\nb"}])
def test_what_is_no_name_and_no_number_cannot_be_logged(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"an event has no field|is no number and no short word"):
        Log().say("event", **fields)
