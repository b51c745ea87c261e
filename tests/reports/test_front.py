"""On the front stands what no other protocol beats in leakage, utility and bytes together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidelight.reports.figures.front_figure import panels
from sidelight.reports.findings.front import Front, Place, beats, fronts
from sidelight.reports.findings.summarise import summarise
from sidelight.reports.stored.results import read_audit

from .folder import THREAT, row, run, scored

MIDDLE = Place(1, "middle", 0.5, 0.4, 0.6, 0.7, 1000.0, False, utility_low=0.65, utility_high=0.75)


@pytest.mark.parametrize(
    ("better", "beaten"),
    [
        ({"leakage": 0.3, "low": 0.2, "high": 0.39}, True),
        ({"utility": 0.8, "utility_low": 0.76, "utility_high": 0.84}, True),
        ({"uplink": 989.0}, True),
        ({}, False),
        ({"leakage": 0.3, "low": 0.2, "high": 0.39, "utility": 0.6}, False),
        ({"leakage": 0.3, "low": 0.2, "high": 0.39, "uplink": 1001.0}, False),
        ({"leakage": 0.3, "low": 0.2, "high": 0.39, "utility": None}, False),
    ],
)
def test_one_beats_another_by_being_as_good_in_all_and_better_in_one(better: dict[str, Any], beaten: bool) -> None:
    assert beats(replace(MIDDLE, **better), MIDDLE) is beaten


@pytest.mark.parametrize(
    "slightly",
    [
        {"leakage": 0.3, "low": 0.2, "high": 0.41},
        {"utility": 0.8, "utility_low": 0.74, "utility_high": 0.86},
        {"uplink": 991.0},
    ],
)
def test_what_chance_or_a_longer_name_makes_beats_nothing(slightly: dict[str, Any]) -> None:
    assert not beats(replace(MIDDLE, **slightly), MIDDLE)


def test_a_fraction_of_a_byte_keeps_nobody_on_the_front() -> None:
    assert beats(replace(MIDDLE, uplink=1000.4, leakage=0.3, low=0.2, high=0.39), MIDDLE)


def test_adversaries_have_fronts_of_their_own(out: Path, build: Callable[..., Path], tmp_path: Path) -> None:
    stronger = {**THREAT, "known_labels": 4}
    threats = {"a": THREAT, "b": THREAT, "c": stronger, "d": stronger}
    runs = [run(f"{name}-0", name, [], shows=["difference"], threat=threat) for name, threat in threats.items()]
    rows = [
        row(f"{name}-0", name, "sign", "labels", **scored(value, 0.4, "leaks", "accuracy", ["difference"]))
        for name, value in (("a", 0.6), ("b", 0.7), ("c", 0.8), ("d", 0.9))
    ]
    found = fronts(summarise(read_audit(build(tmp_path / "two", runs=runs, rows=rows, examples={}))))
    named = [(one.adversary, [place.name for place in one.places]) for one in found]
    assert named == [("the server", ["a", "b"]), ("the server, knowing 4 labels a class", ["c", "d"])]


def test_guessing_worse_than_blind_is_no_better_than_no_leak() -> None:
    assert not beats(replace(MIDDLE, leakage=-0.2), replace(MIDDLE, leakage=0.0))


def test_where_nothing_crosses_stands_beside_the_front(out: Path) -> None:
    labels = next(front for front in fronts(summarise(read_audit(out))) if front.goal == "labels")
    local = next(place for place in labels.places if place.name == "local")
    assert (local.silent, local.on_front, local.leakage, local.uplink) == (True, False, 0.0, 0.0)
    assert any(place.on_front for place in labels.places)


def test_a_goal_with_one_protocol_has_no_front(out: Path) -> None:
    assert [front.goal for front in fronts(summarise(read_audit(out)))] == ["labels"]


def test_marks_that_touch_share_a_place_and_keep_their_states() -> None:
    places = (MIDDLE, replace(MIDDLE, number=2, name="other", on_front=True), replace(MIDDLE, number=3, name="third"))
    first, _ = panels(Front("labels", "labels", "the server", places), 1)
    assert first.count('class="mark place') == 2
    assert ">1, 3</text>" in first
    assert ">2</text>" in first


def test_what_was_not_measured_is_drawn_nowhere() -> None:
    bare = replace(MIDDLE, utility=None, uplink=None)
    assert panels(Front("labels", "labels", "the server", (bare, bare)), 1) == ()
