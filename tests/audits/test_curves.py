"""Rows of a sweep become curves, failed points included."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.audits.cells.cell import Scored
from sidelight.audits.statistics import Measured
from sidelight.system import files

from .synthetic import Made, rows


def test_points_of_a_sweep_become_a_curve_with_intervals_and_their_utility(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for at, (value, share) in enumerate([(8, 0.9), (16, 0.5), (32, 0.3)]):
        group = made.group(f"pae-{value}", role="point", utility=0.1 * at)
        made.entry(group, "sign", rows(share, seed=at), place=made.point("c1", "longest", value, at))
    made.compile()
    [curve] = files.read_lines(tmp_path / "curves.jsonl")
    assert (curve["setting"], curve["axis"], curve["metric"]) == ("longest", "linear", "accuracy")
    assert [(p["x"], p["value"]) for p in curve["points"]] == [(8, 0.9), (16, 0.5), (32, 0.3)]
    assert all(p["low"] < p["value"] < p["high"] and p["p_holm"] is not None for p in curve["points"])
    assert [p["utility"]["value"] for p in curve["points"]] == pytest.approx([0, 0.1, 0.2])


def test_a_failed_point_keeps_its_place_on_the_curve(tmp_path: Path) -> None:
    made = Made(tmp_path)
    outcomes: list[Measured | Scored] = [rows(0.9), Scored("failed", "no memory")]
    for at, one in enumerate(outcomes):
        group = made.group(f"pae-{at}", role="point")
        made.entry(group, "sign", one, place=made.point("c1", "precision", ["fp32", "int8"][at], at))
    made.compile()
    [curve] = files.read_lines(tmp_path / "curves.jsonl")
    assert [(p["x"], p["status"], p["reason"]) for p in curve["points"]] == [
        ("fp32", "scored", None),
        ("int8", "failed", "no memory"),
    ]


def test_a_curve_is_a_family_of_its_own(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.entry(made.group("row"), "sign", rows(0.9))
    made.entry(made.group("point", role="point"), "sign", rows(0.9), place=made.point("c1", "longest", 8, 0))
    assert [row["family"] for row in made.compile()] == ["table", "c1"]


def test_a_group_that_is_a_row_and_a_point_has_its_victims_under_each_apart(tmp_path: Path) -> None:
    made = Made(tmp_path)
    group = made.group("pae", 5)
    entry = made.entry(group, "sign", *(rows(0.9, seed=v) for v in range(5)))
    point = {**vars(entry), "role": "point", "place": made.point("c1", "longest", 8, 0)}
    made.entries.append(entry.__class__(**point))
    found = made.compile()
    wholes = [row["cell"] for row in found if row["seed"] is None]
    assert len(set(wholes)) == 2
    assert [sum(row["part_of"] == whole for row in found) for whole in wholes] == [5, 5]
