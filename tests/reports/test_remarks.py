"""What stands beside a row's figures: its controls, and why it is undecided although its interval is clear."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight.reports.findings.remarks import behind, controls, doubt, game, holm
from sidelight.reports.stored.rows import Row

GOOD, BAD = {"value": 0.9, "succeeded": True}, {"value": 0.4, "succeeded": False}
READ = {"value": 0.2, "succeeded": None}


def made(**more: Any) -> Row:
    about = {"cell": "c", "run": "r", "group": "g", "role": "row", "protocol": "p", "label": "p", "attack": "a"}
    low = {"advantage_low": -0.02, "advantage_high": 0.04, "verdict": "inconclusive", "status": "scored"}
    return Row.model_validate({**about, **low, **more})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "no control"),
        ({"controls": {"reassigned": READ}}, "no control"),
        ({"controls": {"undefended": GOOD, "weakest": BAD}}, "a control failed"),
        ({"controls": {"undefended": {"value": None, "succeeded": False}}}, "a control failed"),
        ({"controls": {"undefended": GOOD}}, "the defence is known to be got around"),
        ({"advantage_high": 0.051}, ""),
        (
            {"advantage_low": 0.06, "advantage_high": 0.2, "p_holm": 0.07},
            "no leak after Holm\N{RIGHT SINGLE QUOTATION MARK}s correction",
        ),
        ({"verdict": "resists", "controls": {"undefended": GOOD}}, ""),
        (
            {"verdict": "resists", "advantage_low": -0.5, "advantage_high": -0.1},
            "worse than its blind twin, so that it says nothing of what a better attack would find",
        ),
        ({"verdict": "leaks", "advantage_low": 0.3, "advantage_high": 0.5}, ""),
        ({"verdict": None, "advantage_low": None, "advantage_high": None}, ""),
    ],
)
def test_a_clear_interval_without_a_verdict_says_why(given: dict[str, Any], expected: str) -> None:
    assert doubt(made(**given)) == expected


def test_controls_tell_value_advantage_and_outcome() -> None:
    full = GOOD | {"low": 0.85, "high": 0.95, "advantage": 0.8, "advantage_low": 0.7, "advantage_high": 0.9}
    shown = controls(made(controls={"reassigned": READ, "revealed": full, "weakest": BAD | {"value": None}}))
    assert [tuple(control) for control in shown] == [
        ("key revealed", "0.900 [0.850, 0.950]", "0.800 [0.700, 0.900]", "succeeded"),
        ("weakest", "without a score", "", "failed"),
        ("labels reassigned", "0.200", "", ""),
    ]


@pytest.mark.parametrize(
    ("p", "said"), [(None, ""), (1e-9, "Holm p < 0.001"), (0.0412, "Holm p = 0.041"), (1, "Holm p = 1.000")]
)
def test_the_corrected_p_value_has_the_digits_that_decide(p: float | None, said: str) -> None:
    assert holm(made(p_holm=p)) == said


def test_the_best_of_several_says_how_it_was_chosen() -> None:
    best = made(role="row", attack="best", chosen=["sign"], among=["sign", "norm"])
    assert list(behind(best)) == ["chosen on one half of the rows, reported on the other: sign", "among sign, norm"]


def test_a_composite_seeds_preparation_and_remarks_are_told() -> None:
    told = made(attack="composite", attacker_seeds=3, prepare_seconds=812.4, reason="2 rows have no guess")
    assert list(behind(told)) == [
        "the harness combined the other guesses", "mean over 3 seeds of the attacker",
        "812 s of preparation, shared", "2 rows have no guess",
    ]  # fmt: skip


def test_naming_and_disclosure_are_told_apart_for_labels_only() -> None:
    assert game(made(goal="labels", metric="accuracy")) == "naming"
    assert game(made(goal="labels", metric="random_row_accuracy")) == "strict disclosure"
    assert game(made(goal="model", metric="accuracy")) == ""
