"""A curve is drawn from its values alone, never over a point without a score, and says in words what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sidelight.reports.figures.curve_figure import BOTTOM, TOP, drawn
from sidelight.reports.findings.curves import apart, named, notes, series, stronger, varied
from sidelight.reports.stored.results import read_audit
from sidelight.reports.stored.rows import Curve, Point

OfVictims = Callable[[int], Path]


def point(x: Any, value: float | None, **more: Any) -> dict[str, Any]:
    about = {"x": x, "status": "failed" if value is None else "scored", "value": value, "victims": [0]}
    return about | {"blind_outsider": {"value": 0.2}, "blind_rest": {"value": 0.1}} | more


def curve(*points: Mapping[str, Any], **more: Any) -> Curve:
    about = {"curve": "c", "label": "p", "protocol": "p", "attack": "sign", "goal": "labels", "metric": "accuracy"}
    return Curve.model_validate(
        {**about, "primary": True, "setting": "sigma", "axis": "linear", "points": points, **more}
    )


def image(one: Curve) -> str:
    made = drawn(one, "c")
    assert made is not None
    return str(made)


def lines(svg: str) -> list[str]:
    return re.findall(r'<path class="line" d="([^"]*)"', svg)


def test_a_line_stops_at_a_point_without_a_score() -> None:
    made = image(curve(point(1, 0.9), point(2, 0.8), point(3, None), point(4, 0.3), point(5, 0.2)))
    assert [path.count(" ") for path in lines(made)] == [2, 2]


def test_scores_run_from_the_foot_to_the_top() -> None:
    (path,) = lines(image(curve(point(1, 0.0), point(2, 1.0))))
    assert [float(y) for y in re.findall(r" ([\d.]+)", path)] == [BOTTOM, TOP]


def test_points_stand_from_left_to_right_whatever_their_order() -> None:
    (path,) = lines(image(curve(point(30, 0.5), point(1, 0.9), point(5, 0.7))))
    xs = [float(x) for x in re.findall(r"[ML]([\d.]+)", path)]
    assert xs == sorted(xs)


def test_each_point_has_the_mark_of_its_verdict() -> None:
    verdicts = ["leaks", "inconclusive", "resists"]
    made = image(curve(*(point(at, 0.5, verdict=verdict) for at, verdict in enumerate(verdicts))))
    assert re.findall(r'<(circle|rect) class="mark (\w+)"', made) == [
        ("circle", "leaks"), ("circle", "inconclusive"), ("rect", "resists"),
    ]  # fmt: skip


def test_the_stronger_twin_is_drawn_with_its_own_mark() -> None:
    rest = {"blind_outsider": {"value": 0.1}, "blind_rest": {"value": 0.4}}
    made = image(curve(point(1, 0.9), point(2, 0.9, **rest)))
    assert re.findall(r'<path class="mark (\w+)"', made) == ["outsider", "rest"]


def test_without_a_twin_none_is_drawn() -> None:
    bare = Point.model_validate(point(1, 0.9, blind_outsider=None, blind_rest=None))
    assert stronger(bare) is None
    assert "mark outsider" not in image(curve(point(1, 0.9, blind_outsider=None, blind_rest=None)))


def test_utility_has_its_floor_at_every_value_red_where_it_is_missed() -> None:
    uses = [(0.8, True), (0.6, False)]
    points = [point(at, 0.9, utility=use, floor={"value": 0.7, "reached": ok}) for at, (use, ok) in enumerate(uses)]
    made = image(curve(*points))
    assert made.count('class="line use"') == 1
    assert re.findall(r'class="(curve-floor[ \w]*)"', made) == ["curve-floor", "curve-floor missed"]
    assert [note.text for note in notes(curve(*points))] == ["Utility below its floor at 1"]


def test_a_twin_and_a_utility_may_be_stored_with_or_without_interval() -> None:
    one = Point.model_validate(point(1, 0.9, blind_outsider=0.3, utility={"value": 0.8, "low": 0.7, "high": 0.9}))
    found = stronger(one)
    assert found is not None
    assert (found[0].value, found[1]) == (0.3, "outsider")
    assert one.utility is not None
    assert one.utility.value == 0.8


def test_points_without_a_score_are_named_with_their_reason() -> None:
    one = curve(point(1, 0.9), point(2, None, reason="ran past 60 s"), point(3, None, status="not_exposed"))
    assert [tuple(note) for note in notes(one)] == [
        ("2: failed, ran past 60 s", True), ("3: not exposed, no reason was stored", False),
    ]  # fmt: skip


def test_victims_that_failed_alike_are_named_together() -> None:
    lost = [point(2, None, reason="no", victims=[victim]) for victim in (0, 1, 2)]
    one = curve(*(point(1, 0.9, victims=[victim]) for victim in (0, 1, 2)), *lost, point(3, None, victims=[1]))
    assert [note.text for note in notes(one)] == [
        "2, victims 0, 1 and 2: failed, no", "3, victim 1: failed, no reason was stored",
    ]  # fmt: skip


@pytest.mark.parametrize("points", [[], [point(1, None)], [point(1, 0.4), point(2, 1.7)]])
def test_what_does_not_fit_the_scale_is_not_drawn(points: list[dict[str, Any]]) -> None:
    assert drawn(curve(*points), "c") is None


def test_a_curve_with_one_point_has_a_mark_and_no_line() -> None:
    made = image(curve(point(1, 0.9, verdict="leaks")))
    assert lines(made) == []
    assert 'class="mark leaks"' in made


def test_victims_that_stand_apart_are_lines_of_their_own() -> None:
    both = curve(*(point(x, 0.9, victims=[victim]) for x in (1, 2) for victim in (0, 1)))
    assert apart(both)
    assert [[one.victims for one in each] for each in series(both)] == [[(0,), (0,)], [(1,), (1,)]]
    assert image(both).count('class="line apart"') == 2


def test_curves_of_victims_that_stand_apart_are_drawn_together(victims: OfVictims) -> None:
    (auxiliary,) = [one for one in varied(read_audit(victims(3))) if one.setting == "threat.auxiliary"]
    (one,) = auxiliary.judged
    assert [(point.x, point.victims) for point in one.points][:4] == [
        ("none", (0,)), ("none", (1,)), ("none", (2,)), ("a few labels of each class", (0,)),
    ]  # fmt: skip


def test_a_utility_that_all_victims_share_is_drawn_once() -> None:
    shared = [point(x, 0.9, victims=[victim], utility=0.8) for x in (1, 2) for victim in (0, 1)]
    assert image(curve(*shared)).count('class="line use"') == 1
    own = [point(x, 0.9, victims=[victim], utility=0.8 - victim / 10) for x in (1, 2) for victim in (0, 1)]
    assert image(curve(*own)).count('class="line use"') == 2


def test_a_curve_that_lost_a_victim_at_one_value_is_one_line() -> None:
    whole, part = [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4]
    one = curve(point(1, 0.9, victims=whole), point(2, 0.8, victims=part), point(3, 0.7, victims=whole))
    assert [len(each) for each in series(one)] == [3]


def test_an_image_says_each_point_in_words() -> None:
    made = image(curve(point(1, 0.9, low=0.85, high=0.95, verdict="leaks", utility=0.8), point(2, None, reason="no")))
    assert '<title id="c-t">sign: labels, accuracy</title>' in made
    assert "sigma 1: 0.900 [0.850, 0.950], blind 0.200, leaks, utility 0.800; 2: failed, no" in made


def test_hostile_names_stay_text() -> None:
    made = image(curve(point("<b>&", 0.5), setting="<script>", axis="ordinal"))
    assert "<b>" not in made
    assert "<script>" not in made


def test_the_best_of_several_is_called_so_on_a_curve() -> None:
    assert named(curve(point(1, 0.9), attack="best")) == "best of several: labels, accuracy"
    assert named(curve(point(1, None), metric=None)) == "sign: labels"


def test_an_axis_names_its_scale() -> None:
    assert ">sigma, log scale</text>" in image(curve(point(1, 0.9), point(100, 0.8), axis="log"))


def test_curves_are_sorted_by_what_is_varied_and_only_judged_ones_are_drawn(victims: OfVictims) -> None:
    noise, *_ = every = varied(read_audit(victims(6)))
    assert [one.setting for one in every] == ["defence.sigma", "side.epochs", "precision", "threat.auxiliary"]
    assert [named(one) for one in noise.judged] == [
        "sign: labels, accuracy", "norm: labels, accuracy", "sign: labels, random row accuracy",
    ]  # fmt: skip
    assert [named(one) for one in noise.other] == ["sign: labels, macro accuracy"]
