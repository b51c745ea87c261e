"""Recorders take orders by their input, outlive a run that fails, and are replaced where one dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sidelight.audits.executors import executor_of
from sidelight.audits.executors.cores import Cores
from sidelight.audits.runs import recorder
from sidelight.audits.runs.recorder import Recorders
from sidelight.audits.runs.recording import RunOrder

ORDER = RunOrder(
    key="pae-0-aa",
    identity={},
    label="pae",
    victim=0,
    protocol="pae",
    settings={"side": {"epochs": 1}},
    defences={},
    threat={},
    labels="own",
    backbone="sidelight-tiny",
    parts="parts.jsonl",
    seed="the secret seed of the victim",
    texts=3,
    root="run",
)

OBEYS = """
import json, os, sys
for line in sys.stdin:
    label = json.loads(line)["label"]
    if label == "dies":
        os._exit(7)
    print(json.dumps("ValueError: no" if label == "fails" else None), flush=True)
"""
"""A recorder that does as the label of its order says."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Recorders that only obey labels; the list grows as they are started."""
    children: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-S", "-c", OBEYS]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return children[-1]

    monkeypatch.setattr(recorder, "_start", start)
    return children


def outcomes(*labels: str, processes: int = 1) -> dict[str, str | None]:
    """By key the outcome of orders that are told apart by their label."""
    found: dict[str, str | None] = {}
    orders = [replace(ORDER, key=f"{at} {label}", label=label) for at, label in enumerate(labels)]
    with Recorders(processes) as recorders:
        recorders.record(orders, lambda order, reason: found.update({order.key: reason}))
    return found


def test_every_order_is_reported_once(started: list[subprocess.Popen[str]]) -> None:
    assert outcomes("a", "b", "c", processes=2) == {"0 a": None, "1 b": None, "2 c": None}
    assert 1 <= len(started) <= 2


def test_a_run_that_fails_leaves_the_others_to_the_same_recorder(started: list[subprocess.Popen[str]]) -> None:
    assert outcomes("a", "fails", "b") == {"0 a": None, "1 fails": "ValueError: no", "2 b": None}
    assert len(started) == 1


def test_a_recorder_that_dies_costs_its_own_run_only(started: list[subprocess.Popen[str]]) -> None:
    found = outcomes("a", "dies", "b", "c")
    assert {key: reason for key, reason in found.items() if reason is None} == {"0 a": None, "2 b": None, "3 c": None}
    assert "ended with status 7" in str(found["1 dies"])
    assert len(started) == 2


def test_no_recorder_outlives_its_work(started: list[subprocess.Popen[str]]) -> None:
    outcomes("a", "dies", "b", processes=2)
    assert all(child.poll() is not None for child in started)


def test_recorders_are_there_before_they_are_asked_and_end_though_nothing_is(
    started: list[subprocess.Popen[str]],
) -> None:
    with executor_of("local") as executor:
        (child,) = started
        assert child.poll() is None
        assert isinstance(executor, Cores)
        executor.recorders.record([ORDER], lambda order, reason: None)  # type: ignore[union-attr]
        assert len(started) == 1
    with executor_of("local"):
        pass
    assert [one.poll() is None for one in started] == [False, False]


def test_a_recorder_that_died_while_it_waited_costs_no_run(started: list[subprocess.Popen[str]]) -> None:
    found: dict[str, str | None] = {}
    with Recorders(1) as recorders:
        started[0].kill()
        started[0].wait()
        recorders.record([ORDER], lambda order, reason: found.update({order.key: reason}))
    assert found == {ORDER.key: None}
    assert len(started) == 2


def test_a_recorder_that_dies_with_an_order_unread_is_closed_in_peace(started: list[subprocess.Popen[str]]) -> None:
    with Recorders(1):
        (child,) = started
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.write("an order")  # in the buffer, which a close would flush
    assert child.stdin.closed


def test_few_recorders_start_early_however_many_cores_there_are(started: list[subprocess.Popen[str]]) -> None:
    orders = [replace(ORDER, key=str(at)) for at in range(9)]
    found: list[str] = []
    with Recorders(64) as recorders:
        assert len(started) == recorder.EARLY
        recorders.record(orders, lambda order, reason: found.append(order.key))
    assert sorted(found) == [order.key for order in orders]
    assert len(started) <= 9


def test_where_no_process_starts_each_run_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> subprocess.Popen[str]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(recorder, "_start", refused)
    assert outcomes("a", "b", processes=2) == dict.fromkeys(("0 a", "1 b"), recorder.NONE_STARTS)


def test_an_interruption_ends_the_recorders(
    started: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        while not started:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(threading.Thread, "join", interrupted)
        outcomes("a", "b", "c")
    for child in started:
        assert child.wait(5) is not None


@pytest.fixture
def real() -> Iterator[subprocess.Popen[str]]:
    child = recorder._start()
    with child:
        yield child
        child.kill()


def test_a_recorder_knows_no_seed_from_its_arguments_and_ends_with_its_input(real: subprocess.Popen[str]) -> None:
    process = psutil.Process(real.pid)
    said = [*process.cmdline(), *process.environ().values()]
    assert [text for text in said if ORDER.seed in text] == []
    assert os.getpgid(real.pid) != os.getpgid(0)  # a Ctrl-C does not reach it
    assert real.stdin is not None
    real.stdin.close()  # as it is when the harness is killed
    assert real.wait(60) == 0


def test_an_order_is_json_and_says_what_a_recorder_needs(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    assert outcomes("label with \u00e9") == {"0 label with \u00e9": None}
