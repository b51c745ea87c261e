"""Values stand on an axis as its kind says, and names under it never touch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from sidelight.reports.findings.axis import MARGIN, axis


def test_a_linear_axis_keeps_distances() -> None:
    places = axis([0, 10, 40], "linear").places
    assert places["10"] - places["0"] == pytest.approx((places["40"] - places["0"]) / 4)
    assert (places["0"], places["40"]) == pytest.approx((MARGIN, 1 - MARGIN))


def test_a_log_axis_keeps_ratios() -> None:
    places = axis([0.01, 0.1, 10], "log").places
    assert places["10"] - places["0.1"] == pytest.approx(2 * (places["0.1"] - places["0.01"]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["fp32", "int8", "int4"], "ordinal"), ([3, 1, 2], "ordinal"), ([0, 1, 10], "log"), ([1, "auto", 3], "linear"),
     ([True, False, None], "linear")],
)  # fmt: skip
def test_values_that_are_no_numbers_on_the_axis_stand_in_their_order(values: list[Any], kind: str) -> None:
    assert list(axis(values, kind).places.values()) == pytest.approx([1 / 6, 3 / 6, 5 / 6])


def test_numbers_stand_by_size_whatever_their_order() -> None:
    assert list(axis([30, 1, 5], "linear").places) == ["1", "5", "30"]


def test_a_single_value_stands_in_the_middle() -> None:
    assert axis([4, 4], "linear").places == {"4": 0.5}


@pytest.mark.parametrize("values", [[1, 2, 3, 5, 100, 200], list(range(60)), ["a long name of a value"] * 2 + ["b"]])
def test_names_on_one_line_never_touch(values: list[Any]) -> None:
    letters = 50
    for line in (0, 1, 2):
        ticks = [tick for tick in axis(values, "linear").ticks(letters) if tick.name and tick.line == line]
        ends = [
            (tick.middle - len(tick.name) / letters / 2, tick.middle + len(tick.name) / letters / 2) for tick in ticks
        ]
        assert all(low >= 0 and high <= 1 for low, high in ends)
        assert all(left[1] < right[0] for left, right in pairwise(ends))


def test_every_value_keeps_its_tick_even_without_room_for_its_name() -> None:
    ticks = axis(list(range(60)), "linear").ticks(50)
    assert len(ticks) == 60
    assert "" in {tick.name for tick in ticks}


def test_a_few_long_names_all_have_room() -> None:
    names = ["none", "a few labels of each class", "same domain, other rows", "in distribution, disjoint rows"]
    assert all(tick.name for tick in axis(names, "ordinal").ticks(58))
