"""Attacks that break in every way become failed cells with a reason; the other cells finish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidelight.audits.sandbox.preparing import Shelf
from sidelight.audits.sandbox.workers import Workers

from .small import PAE, Small, installed, results, run_here

LISTED = 'attacks = ["preparing", "unprepared", "working"]\n'
BREAKING = {
    "raising": ("Raising", "ArithmeticError: the matrix is singular"),
    "hanging": ("Hanging", "no guess within 5 s"),
    "growing": ("Growing", "resident memory above 1.0 GiB"),
    "nan": ("NotANumber", "90 of 90 outputs are NaN or infinite"),
    "foreign": ("ForeignIds", "36 unknown ids, such as 'row 0'"),
    "two": ("TwoGuesses", "labels must have 1 dimensions, not the shape (36, 2)"),
    "other": ("OtherGoal", "takes a LabelGuess, not a TextGuess"),
    "unscored": ("Unscored", "goal 'epsilon'"),
}
"""By name in the registry, the attack and what the reason of its failed cell says."""


@pytest.fixture(scope="module")
def broken(small: Small, workers: Workers) -> tuple[Path, bool]:
    """An audit whose attacks break in every way, among two that work, and whether it was whole."""
    names = [*BREAKING, "working", "shy"]
    suite = small.suite("breaking", PAE + f"attacks = {json.dumps(names)}\n")
    content = suite.read_text(encoding="utf-8").replace("seconds = 60", "seconds = 5")
    suite.write_text(content.replace("memory_gib = 4", "memory_gib = 1"), encoding="utf-8")
    table = {name: f"plugin_attacks:{kind}" for name, (kind, _) in BREAKING.items()}
    with installed(**table, working="plugin_attacks:Working", shy="plugin_attacks:Shy"):
        whole, _ = run_here(small, small.root / "broken", suite, workers)
    return small.root / "broken", whole


@pytest.mark.parametrize("name", BREAKING)
def test_an_attack_that_breaks_is_a_failed_cell_with_its_reason(broken: tuple[Path, bool], name: str) -> None:
    rows = [row for row in results(broken[0]) if row["attack"] == name]
    assert [row["status"] for row in rows] == ["failed"]
    assert BREAKING[name][1] in rows[0]["reason"]
    assert "\n" not in rows[0]["reason"]


def test_the_other_cells_finish_and_the_audit_is_not_whole(broken: tuple[Path, bool]) -> None:
    out, whole = broken
    assert not whole
    assert {row["attack"]: row["value"] for row in results(out) if row["status"] == "scored"} == {
        "working": 1.0,
        "shy": 0.5,
        "composite": 1.0,
        "best": 1.0,
    }


def test_rows_without_a_guess_are_told(broken: tuple[Path, bool]) -> None:
    shy = next(row for row in results(broken[0]) if row["attack"] == "shy")
    assert "18 rows have no guess and count as wrong" in shy["reason"]


def test_a_failed_cell_runs_again_and_is_replaced(small: Small, workers: Workers, tmp_path: Path) -> None:
    suite = small.suite("flaky", PAE + 'attacks = ["flaky", "sign"]\n')
    with installed(flaky="plugin_attacks:Raising"):
        assert not run_here(small, tmp_path / "out", suite, workers)[0]
    sign = next((tmp_path / "out" / "cells").glob("*-sign-*")) / "result.json"
    failed = next((tmp_path / "out" / "cells").glob("*-flaky-*"))
    before = sign.stat().st_mtime_ns
    with installed(flaky="plugin_attacks:Working"):
        assert run_here(small, tmp_path / "out", suite, workers)[0]
    assert sign.stat().st_mtime_ns == before
    assert json.loads((failed / "result.json").read_text(encoding="utf-8"))["fields"]["status"] == "scored"
    assert [row["status"] for row in results(tmp_path / "out") if row["primary"]] == ["scored"] * 4
    assert [path.name for path in (tmp_path / "out" / "cells").glob("*flaky*")] == [failed.name]


def test_an_audit_prepares_once_for_all_runs_before_it_attacks_and_a_failure_stops_no_other(
    small: Small, workers: Workers, tmp_path: Path
) -> None:
    # the attack studies nothing, so that both runs share what it prepares
    suite = small.suite("prepares", PAE, LISTED, PAE.replace("epochs = 12", "epochs = 1"), LISTED)
    plugins = {name: f"plugin_attacks:{name.title()}" for name in ("preparing", "unprepared", "working")}
    with installed(**plugins):
        done, said = run_here(small, tmp_path / "out", suite, workers)
        again = run_here(small, tmp_path / "out", suite, workers)[1]
    assert not done
    lines = [line for line in said if line.startswith(("prepared", "attacked", "FAILED"))]
    assert [line.partition(" in ")[0] for line in lines if line.startswith("prepared")] == ["prepared preparing"]
    assert lines[0].startswith("prepared")
    status = {row["attack"]: row["status"] for row in results(tmp_path / "out")}
    assert (status["preparing"], status["unprepared"], status["working"]) == ("scored", "failed", "scored")
    assert not any(line.startswith("prepared") for line in again)


def test_what_waits_for_a_preparation_goes_behind_what_does_not(
    small: Small, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shelf, "holds", lambda shelf, key: False)  # as long as it takes
    suite = small.suite("waiting", PAE + 'attacks = ["preparing", "working", "sign"]\n')
    table = {"preparing": "plugin_attacks:Preparing", "working": "plugin_attacks:Working"}
    with installed(**table):
        whole, said = run_here(small, tmp_path / "out", suite, workers)
    assert whole
    attacked = [line.split(": ")[1] for line in said if line.startswith("attacked")]
    assert attacked == ["working", "sign", "preparing"]
