"""The terminal table fits its width, folds what does not apply, and says everything without colour."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sidelight.reports.formats.table import print_table

from .every_case import DEFENDED, every_case
from .folder import write_audit

OfVictims = Callable[[int], Path]


def printed(out: Path, width: int, colour: bool = False) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=colour, color_system="truecolor" if colour else None)
    print_table(out, console)
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal(out: Path, width: int) -> None:
    assert max(map(len, printed(out, width).splitlines())) <= width


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_whatever_an_audit_holds(full: Path, width: int) -> None:
    assert max(map(len, printed(full, width).splitlines())) <= width


@pytest.mark.parametrize("width", [100, 120])
def test_a_scored_cell_is_one_line_with_its_twins_and_verdict(out: Path, width: int) -> None:
    (line,) = re.findall(r"^readoff .*$", printed(out, width), flags=re.MULTILINE)
    assert line.split() == ("readoff model 0.430 [0.410, 0.450] 0.420 0.378 0.017 [-0.013, 0.037] inconclusive".split())


def test_each_run_has_its_utility_floor_and_bytes(out: Path) -> None:
    text = printed(out, 100)
    assert "mobillm (precision=fp32)   accuracy 0.810 (floor 0.710 reached)   614,481 bytes/sample up" in text
    assert "pae (difference=logit)   accuracy 0.660 (floor 0.710 missed)   4,704 bytes/sample up" in text


def test_what_does_not_apply_is_one_line_a_run(out: Path) -> None:
    text = printed(out, 100)
    assert "  not exposed: plaintext, sign, match, readoff\n  nothing crosses\n" in text
    assert "  not applicable: readoff\n" in text


def test_failed_and_unaudited_are_said_without_colour(out: Path) -> None:
    text = printed(out, 100)
    assert "\x1b" not in text
    assert "failed: match (beam=8), texts: ran past 60 s" in text
    assert "unaudited: activations, held: side network" in text
    assert "not audited: texts, tuned model" in text


def test_failed_and_unaudited_are_red(out: Path) -> None:
    text = printed(out, 100, colour=True)
    assert "\x1b[31mfailed: match (beam=8), texts: ran past 60 s" in text
    assert "\x1b[31munaudited: activations" in text


def test_claims_stand_version_by_version(out: Path) -> None:
    text = printed(out, 100)
    assert re.search(r"v1 labels refuted +under pae \(difference=probability\)", text)
    assert re.search(r"v2 data +not audited under pae \(difference=probability\), pae \(difference=logit\)", text)


def test_square_brackets_in_a_reason_are_no_markup(out: Path) -> None:
    results = out / "results.jsonl"
    text = results.read_text(encoding="utf-8").replace("ran past 60 s", "shape [bold]3[/bold] is wrong [/]")
    results.write_text(text, encoding="utf-8")
    assert "shape [bold]3[/bold] is wrong [/]" in printed(out, 100)


def test_a_victim_keeps_its_number_beside_it(victims: OfVictims) -> None:
    assert re.search(r"^norm +labels", printed(victims(3), 80), flags=re.MULTILINE)
    assert "victim\n" not in re.sub(r" +\n", "\n", printed(victims(3), 80))


def test_below_98_columns_the_stronger_twin_stands_for_both(out: Path) -> None:
    (line,) = re.findall(r"^readoff .*$", printed(out, 80), flags=re.MULTILINE)
    assert line.split() == "readoff model 0.43 [0.41, 0.45] 0.42 0.02 [-0.01, 0.04] inconclusive".split()


@pytest.mark.parametrize("width", [80, 98])
def test_the_longest_goal_stands_on_one_line_at_either_width(out: Path, width: int) -> None:
    results = out / "results.jsonl"
    text = results.read_text(encoding="utf-8").replace('"goal": "model"', '"goal": "members"')
    results.write_text(text, encoding="utf-8")
    shown = printed(out, width)
    assert re.search(r"^readoff +members +0\.43", shown, flags=re.MULTILINE)
    assert max(map(len, shown.splitlines())) <= width


def test_best_controls_and_doubts_are_noted(victims: OfVictims) -> None:
    text = printed(victims(6), 120)
    assert "  best of 4, labels: chosen on one half of the rows, reported on the other: sign\n" in text
    assert "controls of best of 4, labels: undefended 0.99 [0.97, 1.00]: succeeded; weakest 0.97" in text
    assert "  norm, labels: no leak after Holm" in text
    assert "  sign, random rows: no control" in text


def test_what_a_defence_promises_and_costs_is_noted(full: Path) -> None:
    text = printed(full, 120)
    told = re.sub(r"\s+", " ", text)
    assert "  promised: epsilon 2, delta 1e-05 for one label (not audited)\n" in text
    assert "at least 1.25 of the 2.50 nats of a label" in told
    assert "  utility loss 0.220 [0.180, 0.260], more than 2 points; bytes/sample up 4,704, undefended 4,600; " in text
    assert told.count("device ms/sample 4.2, undefended 3.1") == 1


AUDIT = {"epsilon_low": 1.25, "epsilon_most": 38.5, "pairs": 10000, "mu_low": 0.3, "confidence": 0.9975}


def promising(tmp_path: Path, low: float, most: float = 38.5) -> str:
    """The table of an audit whose defended runs have an audited promise, those of later victims a bound of 1.25."""
    parts = every_case(2)
    for one in parts["runs"]:
        if one["label"] == DEFENDED:
            shown = {**AUDIT, "epsilon_most": most, **({"epsilon_low": low} if one["victim"] == 0 else {})}
            one["budget"] = {**one["budget"], "against": "whoever sees what crosses", "audit": shown}
            one["released_budget"] = {"epsilon": 8.0, "delta": 1e-5, "unit": "example", "against": "those who receive"}
    return re.sub(r"\s+", " ", printed(write_audit(tmp_path / f"low {low}", **parts), 250))


def test_a_promise_stands_beside_its_audit_and_says_whom_it_is_about(tmp_path: Path) -> None:
    text = promising(tmp_path, 0.5)
    # of two victims the one whose audit shows more
    audited = "(audited: epsilon at least 1.25, can show at most 38.5, 99.75 % confidence, 10,000 canaries)"
    assert f"promised: epsilon 2, delta 1e-05 for one label, against whoever sees what crosses {audited}" in text
    assert "promised: epsilon 8, delta 1e-05 for one example, against those who receive (not audited)" in text
    assert "BROKEN" not in text


def test_an_audit_that_could_not_refute_a_promise_is_not_called_passed(tmp_path: Path) -> None:
    assert "(audited, but it could not be refuted: epsilon at least 1.25, can show at most 1.9, " in promising(
        tmp_path, 0.5, 1.9
    )


def test_a_broken_promise_is_said(tmp_path: Path) -> None:
    text = promising(tmp_path, 2.5)
    said = "(BROKEN PROMISE: an audit shows epsilon at least 2.5, can show at most 38.5, 99.75 %"
    assert f"against whoever sees what crosses {said}" in text


def test_curves_are_a_line_a_value(victims: OfVictims) -> None:
    text = printed(victims(6), 100)
    assert "pae (defence.name=gaussian): defence.sigma\n  sign: labels, accuracy\n" in text
    assert re.search(r"^    0.01  0.990 \[0.960, 1.000\]  0.410  leaks +0.820", text, flags=re.MULTILINE)
    assert re.search(r"^    16    ran past 300 s +\S +failed +0.700, below its floor", text, flags=re.MULTILINE)


def test_failed_controls_are_said(full: Path) -> None:
    assert "failed: control pae (defence.name=gaussian, defence.sigma=0.01), norm, labels: ran past" in printed(
        full, 120
    )
