"""The proofs of kills and of many devices, with bounded numbers, and that each of their measures can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.proofs.network_kills import Found, Scene, judge, prove, sent_again
from sidelight.audits.proofs.soak import level, rise, soak


@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["server", "device"])
def test_a_kill_loses_nothing_and_changes_nothing(who: str) -> None:
    found = prove(who, kills=1, seed=3, rows=80, epochs=6)
    assert found.failed == []
    assert (found.kills, found.other_weights, found.asked_again, found.sent_again) == (1, 0, 0, 0)
    assert found.sound


def event(kind: str, samples: int = 0, wanted: int = 0) -> dict[str, Any]:
    return {"event": "answered", "kind": kind, "samples": samples, "wanted": wanted}


def test_what_is_sent_beyond_what_was_wanted_is_counted() -> None:
    begun = [event("samples", 10, wanted=10), event("activations", 4), event("difference", 4)]
    gone_on = [event("samples", 10, wanted=6), event("difference", 4), event("difference", 2)]
    assert sent_again([*begun, *gone_on]) == 0
    assert sent_again([*begun, event("samples", 10, wanted=6), event("difference", 4), event("difference", 4)]) == 2
    assert sent_again([*begun, *gone_on, event("difference", 3)]) == 3


class Told(Scene):
    """A scene of which log and weights are given."""

    def __init__(self, events: list[dict[str, Any]], weights: bytes) -> None:
        self._told, self._weights = events, weights

    def events(self) -> list[dict[str, Any]]:
        return self._told

    def weights(self) -> bytes:
        return self._weights


@pytest.mark.parametrize(
    ("who", "events", "weights", "measure"),
    [
        ("server", [event("train", wanted=3)], b"same", "asked_again"),
        ("device", [event("samples", 2, wanted=0), event("difference", 2)], b"same", "sent_again"),
        ("server", [], b"other", "other_weights"),
    ],
)
def test_whatever_goes_wrong_is_found(who: str, events: list[dict[str, Any]], weights: bytes, measure: str) -> None:
    found = Found(kills=1, runs=1)
    judge(Told(events, weights), who, b"same", found)
    assert getattr(found, measure) > 0
    assert not found.sound


def test_no_kill_proves_nothing() -> None:
    assert not Found(runs=1).sound


def test_many_devices_leave_a_server_as_it_was(tmp_path: Path) -> None:
    load, grown, most = soak(devices=4, seconds=4.0)
    assert load.refused == []
    assert sorted(load.rounds) == [0, 1, 2, 3]
    assert set(grown) == {"memory", "handles", "threads"}
    assert most[2] < 64


def test_a_rise_is_that_of_a_line_and_a_leak_is_one() -> None:
    times = [0.0, 1.0, 2.0, 3.0, 4.0]
    assert rise(times, [100.0] * 5) == pytest.approx(0.0, abs=1e-9)
    assert rise(times, [90.0, 95.0, 100.0, 105.0, 110.0]) == pytest.approx(20.0)
    calm = {"memory": 4.0, "handles": -3.0, "threads": 2.0}
    assert level(calm, (100, 50, 20), 0.05)
    assert not level({**calm, "memory": 6.0}, (100, 50, 20), 0.05)
    assert not level({**calm, "threads": 5.0}, (100, 50, 20), 0.05)
    assert not level({**calm, "handles": 64.0}, (100, 500, 20), 0.05)
