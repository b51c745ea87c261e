"""A sweep becomes one run for each value, whatever is varied, and nothing else of the run changes."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight.audits.suites.arrange import arrange
from sidelight.audits.suites.suite import ControlPlan, RunPlan, Suite
from sidelight.audits.suites.sweeps import axis, points

BASE: dict[str, Any] = {"protocol": "mobillm", "settings": {"side": {"epochs": 2}}}


def spread(setting: str, *values: Any, **fields: Any) -> list[RunPlan]:
    return [run for run, _ in points(RunPlan(**{**BASE, **fields}, sweep={setting: list(values)}))]


def test_a_setting_of_the_protocol_takes_each_value() -> None:
    runs = spread("precision", "fp32", "int8")
    assert [run.settings for run in runs] == [{"side": {"epochs": 2}, "precision": p} for p in ("fp32", "int8")]
    assert all(run.sweep == {} for run in runs)


def test_a_dotted_setting_changes_that_part_of_its_table_only() -> None:
    runs = spread("side.bottleneck", 4, 8)
    assert [run.settings["side"] for run in runs] == [{"epochs": 2, "bottleneck": 4}, {"epochs": 2, "bottleneck": 8}]


def test_data_and_threat_are_varied_by_their_own_names() -> None:
    assert [run.data for run in spread("data.max_classes", 5, 10, data={"texts": 9})] == [
        {"texts": 9, "max_classes": 5},
        {"texts": 9, "max_classes": 10},
    ]
    assert [run.threat for run in spread("threat.auxiliary", "none", "labelled")] == [
        {"auxiliary": "none"},
        {"auxiliary": "labelled"},
    ]


def test_a_sweep_of_an_attack_runs_that_attack_alone_on_one_recorded_run() -> None:
    runs = spread("attack.match.widest", 16, 64, vary={"match": [{"round": 0}, {"round": 1}]})
    assert [run.attacks for run in runs] == [["match"], ["match"]]
    assert runs[1].vary == {"match": [{"round": 0, "widest": 64}, {"round": 1, "widest": 64}]}
    assert runs[0].settings == runs[1].settings


def test_points_keep_their_order_and_share_their_sweep() -> None:
    found = [point for _, point in points(RunPlan(**BASE, sweep={"longest": [32, 8, 16]}))]
    assert [(point.value, point.at, point.setting) for point in found] == [
        (32, 0, "longest"),
        (8, 1, "longest"),
        (16, 2, "longest"),
    ]
    assert len({point.sweep for point in found}) == 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([8, 16, 32], "linear"),
        ([1, 4, 16], "log"),
        ([0.5, 8.0], "log"),
        ([0, 16, 64], "linear"),
        (["fp32", "int8"], "ordinal"),
        ([False, True], "ordinal"),
        ([1, "all"], "ordinal"),
    ],
)
def test_numbers_lie_by_size_and_everything_else_in_order(values: list[Any], kind: str) -> None:
    assert axis(values) == kind


def test_controls_stand_behind_their_run_and_behind_each_point_of_its_sweep() -> None:
    control = {"plain": ControlPlan(settings={"precision": "fp32"})}
    row = RunPlan(protocol="mobillm", settings={"precision": "int4"}, controls=control)
    swept = RunPlan(protocol="mobillm", controls=control, sweep={"precision": ["int8", "int4"]})
    roles = [(one.role, one.run.settings["precision"]) for one in arrange(Suite(runs=[row, swept]))]
    assert roles == [
        ("row", "int4"),
        ("control", "fp32"),
        ("point", "int8"),
        ("control", "fp32"),
        ("point", "int4"),
        ("control", "fp32"),
    ]


def test_a_control_lays_its_settings_over_those_of_its_run() -> None:
    control = {"shuffled labels": ControlPlan(labels="reassigned")}
    run = RunPlan(protocol="pae", settings={"scale": 2.0}, controls=control)
    made = next(one for one in arrange(Suite(runs=[run])) if one.role == "control").run
    assert (made.settings, made.labels, made.controls) == ({"scale": 2.0}, "reassigned", {})
