"""What is typed becomes the job that was meant, and how the job ends becomes the exit status."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidelight.audits.audit import Ended
from sidelight.audits.planning.naming import Request
from sidelight.system import command
from sidelight.system.assignments import assignments, defended
from sidelight.system.errors import UsageError

Asked = list[tuple[Request, Any]]


def sidelight(*arguments: object) -> int:
    """The exit status of a command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sidelight", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Audits that were asked for, none of which is run; all are whole."""
    requests: Asked = []
    monkeypatch.setattr("sidelight.audits.audit.run_audit", _noting(requests, whole=True))
    monkeypatch.setattr("sidelight.audits.command._report", lambda out: print(f"report of {out}"))
    return requests


def _noting(requests: Asked, whole: bool) -> Callable[[Request, Any, Any, Any], Ended]:
    def run(request: Request, executor: Any, say: Any, gate: Any) -> Ended:
        requests.append((request, executor))
        return Ended(whole, None)

    return run


def test_an_audit_without_arguments_is_the_quick_one_on_the_defaults(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sidelight("audit") == 0
    request, executor = asked[0]
    assert (request.suite.name, request.backbone, request.data) == ("quick", "sidelight-tiny", "messages")
    assert (request.out, request.seed) == (Path("results"), None)
    assert executor.count == len(os.sched_getaffinity(0))
    assert capsys.readouterr().out.splitlines()[-1] == "report of results"


def test_every_option_of_an_audit_reaches_its_request(asked: Asked, tmp_path: Path) -> None:
    options = ["--backbone", "b", "--data", "d.csv", "--out", tmp_path / "o", "--seeds", 3, "--seed", "s"]
    assert sidelight("audit", "quick", *options, "--executor", "local") == 0
    request, executor = asked[0]
    assert (request.backbone, request.data, request.out) == ("b", "d.csv", tmp_path / "o")
    assert (request.suite.victims, request.seed) == (3, "s")
    assert executor.count == 1


def test_a_failed_cell_is_exit_status_1_after_the_report(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sidelight.audits.audit.run_audit", _noting(asked, whole=False))
    assert sidelight("audit", "--out", tmp_path / "o") == 1
    assert "report of" in capsys.readouterr().out


def test_a_failed_attack_on_a_single_view_is_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for whole, status in ((True, 0), (False, 1)):
        lines = iter([("one", True), ("two", whole)])
        monkeypatch.setattr("sidelight.audits.single.attack_one", lambda *_, lines=lines: lines)
        assert sidelight("attack", "view", "--public", "public") == status
        assert capsys.readouterr().out == "one\ntwo\n"


def test_an_interruption_is_one_sentence_and_exit_status_130(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("sidelight.audits.audit.run_audit", interrupted)
    assert sidelight("audit", "--out", tmp_path / "o") == 130
    said = capsys.readouterr().err
    assert said == "sidelight: stopped; the same command with the same --out goes on from here\n"


@pytest.mark.parametrize(("number", "status"), [(13, 2), (28, 2), (5, None)])
def test_errors_of_the_file_system_that_the_user_can_mend_are_one_sentence(
    asked: Asked,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    status: int | None,
) -> None:
    """13: no permission; 28: no space left; 5, an input or output error, is nothing that a sentence mends."""

    def failing(*_: object) -> bool:
        raise OSError(number, os.strerror(number), "some/path")

    monkeypatch.setattr("sidelight.audits.audit.run_audit", failing)
    if status is None:
        with pytest.raises(OSError, match="some/path"):
            sidelight("audit", "--out", tmp_path / "o")
        return
    assert sidelight("audit", "--out", tmp_path / "o") == status
    said = capsys.readouterr().err
    assert said.startswith("sidelight: some/path: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("what", ["protocols", "attacks", "defences", "backbones", "data", "suites"])
def test_every_table_of_names_can_be_listed(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sidelight("list", what) == 0
    shown = capsys.readouterr().out
    examples = {"protocols": "pae", "attacks": "sign", "backbones": "sidelight-tiny", "data": "messages"}
    examples["defences"] = "label-dp         labels randomised once (randomised response, Warner 1965"
    assert examples.get(what, "") in shown


def test_assignments_are_toml_values_or_else_text_and_dots_name_tables() -> None:
    pairs = ["selector=mean", "side.epochs=3", "side.batch = 4", "scale=1.5", "prompt=a = b"]
    assert assignments(pairs) == {
        "selector": "mean",
        "side": {"epochs": 3, "batch": 4},
        "scale": 1.5,
        "prompt": "a = b",
    }


@pytest.mark.parametrize("pairs", [["selector"], ["=mean"], ["side=3", "side.epochs=2"], ["side..epochs=2"]])
def test_what_is_no_assignment_is_refused(pairs: list[str]) -> None:
    with pytest.raises(UsageError, match="give NAME=VALUE"):
        assignments(pairs)


def test_defences_are_given_by_name_with_their_settings_and_keep_their_order() -> None:
    given = ["scale:spread=2,per_sample=true", "rotate", "label-dp:epsilon=1"]
    assert list(defended(given).items()) == [
        ("scale", {"spread": 2, "per_sample": True}),
        ("rotate", {}),
        ("label-dp", {"epsilon": 1}),
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["rotate", "rotate:per_sample=true"], "the defence rotate is given twice; give it once"),
        (["label-dp:1"], "'1' is no setting; give NAME=VALUE"),
        (["label-dp:"], "'' is no setting; give NAME=VALUE"),
    ],
)
def test_what_is_no_defence_is_refused(given: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        defended(given)


def test_every_defence_of_a_command_line_reaches_the_recorder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded: list[Any] = []
    monkeypatch.setattr("sidelight.audits.single.record_one", lambda *given: recorded.append(given))
    options = ["--defence", "rotate", "--defence", "label-dp:epsilon=1", "--set", "scale=2.0"]
    assert sidelight("record", "pae", "--out", tmp_path / "o", *options) == 0
    [(protocol, settings, *_, defences)] = recorded
    assert (protocol, settings, defences) == ("pae", {"scale": 2.0}, {"rotate": {}, "label-dp": {"epsilon": 1}})


def test_a_wrong_defence_on_the_command_line_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for defence, words in (("rotat", "did you mean 'rotate'"), ("label-dp:epsilon=0", "give a positive number")):
        assert sidelight("record", "pae", "--out", tmp_path / "o", "--defence", defence) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
