"""`--budget` on the command line: a wrong file before anything is run, and the exit status at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.audit import Ended
from sidelight.audits.cells.cell import Scored
from sidelight.audits.gates.gate import gate_on_suite
from sidelight.audits.suites.suite_file import BUILT_IN, load_suite
from sidelight.system import files
from sidelight.system.errors import UsageError

from ..synthetic import Made, rows
from ..test_command import sidelight
from .held import budget, group

LABELS = 'goal = "labels"\nprotocol = "pae"\nmax_value = 0.5'


@pytest.fixture(autouse=True)
def report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidelight.audits.command._report", lambda out: print(f"report of {out}"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A finished audit in which `sign` finds a tenth of the labels, `addback` nine tenths, and `match` fails."""
    made = Made(tmp_path / "audit")
    made.entry(group(made, "pae"), "sign", rows(0.1))
    made.entry("pae", "addback", rows(0.9))
    made.entry("pae", "match", Scored("failed", "ran past 300 s"))
    made.compile()
    files.write_json(made.out / "audit.json", {})
    (made.out / "truth").mkdir()
    return made.out


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ('attack = "addback"\nmax_value = 0.5', 3, "over budget"),
        ('attack = "sign"\nmax_value = 0.5', 1, "within budget"),
        ('goal = "texts"\nmax_value = 0.5', 3, "failed"),
        ('protocol = "mesfl"\nmax_value = 0.5', 3, "not measured"),
        ('attack = "sign"\nmaxvalue = 0.5', 2, "did you mean 'max_value'"),
    ],
)
def test_the_exit_status_of_a_judged_audit_of_which_one_cell_failed(
    out: Path, text: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sidelight("judge", out, "--budget", budget(out.parent, text)) == status
    assert said in capsys.readouterr().err
    assert (out / "budget.json").exists() is (out / "junit.xml").exists() is (status != 2)


def test_a_whole_audit_within_its_budget_is_status_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Made(tmp_path / "audit")
    made.entry(group(made, "pae"), "sign", rows(0.1))
    made.compile()
    files.write_json(made.out / "audit.json", {})
    (made.out / "truth").mkdir()
    assert sidelight("judge", made.out, "--budget", budget(tmp_path, LABELS)) == 0
    told = capsys.readouterr()
    assert told.out == f"report of {made.out}\n"
    assert told.err.endswith("sidelight: within budget: 1 limit, 1 check\n")


def test_an_over_budget_audit_with_failed_cells_says_both(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sidelight("judge", out, "--budget", budget(out.parent, LABELS)) == 3
    assert "besides, a cell failed" in capsys.readouterr().err


def test_results_stated_again_leave_no_old_outcome_behind(out: Path) -> None:
    assert sidelight("judge", out, "--budget", budget(out.parent, LABELS)) == 3
    assert (out / "budget.json").exists()
    assert sidelight("judge", out) == 1
    assert not (out / "budget.json").exists()
    assert not (out / "junit.xml").exists()


def test_the_outcome_is_there_when_the_report_is_made(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    monkeypatch.setattr("sidelight.audits.command._report", lambda out: found.append((out / "budget.json").exists()))
    sidelight("judge", out, "--budget", budget(out.parent, LABELS))
    assert found == [True]


def membership(made: Made) -> None:
    """A row of membership, as an audit that asks for it has."""
    entry = made.entry("pae", "loss", Scored("not_applicable", "the adversary does not have: challenge"))
    assert entry.goal == "members"


def test_a_limit_on_advantage_without_a_goal_is_refused_where_there_is_membership(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Made(tmp_path / "audit")
    made.entry(group(made, "pae"), "sign", rows(0.1))
    membership(made)
    made.compile()
    files.write_json(made.out / "audit.json", {})
    before = sorted(made.out.rglob("*"))
    assert sidelight("judge", made.out, "--budget", budget(tmp_path, "max_advantage = 0.05")) == 2
    assert 'metric = "tpr_at_1" and max_value' in capsys.readouterr().err
    assert sorted(made.out.rglob("*")) == before


# --- before an audit is run ------------------------------------------------------------------------------------------


@pytest.fixture
def never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> bool:
        raise AssertionError("an audit was begun")

    monkeypatch.setattr("sidelight.audits.audit.run_audit", run)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('goal = "label"\nmax_value = 0.1', "did you mean 'labels'"),
        ('protocol = "mesfl"\nmax_value = 0.1', "would measure nothing: no run has the protocol 'mesfl'"),
        ('label = "pae (difference=logits)"\nmax_value = 0.1', "there are local; local (method=side); mobillm; pae"),
        ('adversary = "eavesdropper"\nmax_value = 0.1', "no run has adversary 'eavesdropper'"),
        ('goal = "members"\nmax_value = 0.1', "could not be kept: no attack on members runs on pae; "),
        ('attack = "gram"\nmax_value = 0.1', "no attack there has attack 'gram'"),
    ],
)
def test_a_budget_that_could_not_be_kept_costs_no_audit(
    never_run: None, tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = budget(tmp_path, text)
    assert sidelight("audit", "quick", "--out", tmp_path / "o", "--budget", file) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_limit_on_advantage_is_refused_where_the_suite_has_membership(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"limit 1 of .* names no goal: membership has no advantage"):
        gate_on_suite(budget(tmp_path, "max_advantage = 0.05"), load_suite("members"))


@pytest.mark.parametrize("name", sorted(BUILT_IN.keys() - {"released"}))
def test_every_built_in_suite_can_be_gated_run_by_run(tmp_path: Path, name: str) -> None:
    """Labels are known before anything is loaded, and a budget on one of them is taken."""
    suite = load_suite(name)
    with pytest.raises(UsageError, match=r"there are \w+") as refused:
        gate_on_suite(budget(tmp_path, 'label = "?"\nmax_value = 0.5\npoints = true'), suite)
    labels = str(refused.value).partition("there are ")[2].split("; ")
    gate_on_suite(budget(tmp_path, f"label = {json.dumps(labels)}\nmin_utility = 0.1\npoints = true"), suite)


def test_a_suite_that_wants_a_folder_says_so_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no adapter_config\.json; give a folder"):
        gate_on_suite(budget(tmp_path, "max_value = 0.5"), load_suite("released"))


def test_an_audit_is_held_to_its_budget_at_the_end(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sidelight.audits.audit.run_audit", lambda *given: Ended(True, given[-1](out)))
    assert sidelight("audit", "quick", "--out", out, "--budget", budget(out.parent, LABELS)) == 3
    told = capsys.readouterr()
    assert told.out == f"report of {out}\n"
    assert "limit 1: pae, addback, server, labels, accuracy: exceeded" in told.err
    assert (out / "junit.xml").exists()
