"""`sidelight report` prints the table and writes whole files beside the results."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sidelight.reports.command import report
from sidelight.reports.written import write_format, write_reports
from sidelight.system.errors import UsageError

from .every_case import DEFENDED, every_case
from .folder import row, write_audit

APP = typer.Typer()
APP.command()(report)


def test_without_a_format_it_ends_with_the_path_of_the_page(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(out)
    shown = capsys.readouterr().out
    assert "plaintext" in shown
    assert shown.splitlines()[-1] == str(out / "report.html")
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# What the server learns")


@pytest.mark.parametrize(
    ("name", "suffix"), [("html", "html"), ("md", "md"), ("csv", "csv"), ("json", "json"), ("latex", "tex")]
)
def test_a_format_writes_its_file_only(out: Path, name: str, suffix: str) -> None:
    result = CliRunner().invoke(APP, [str(out), "--format", name])
    assert result.exit_code == 0
    assert [path.name for path in out.glob("report*")] == [f"report.{suffix}"]
    assert result.stdout == f"{out / f'report.{suffix}'}\n"


def test_an_unknown_format_is_wrong_usage(out: Path) -> None:
    assert CliRunner().invoke(APP, [str(out), "--format", "pdf"]).exit_code == 2


def test_redaction_replaces_the_private_page(out: Path, private: tuple[str, ...]) -> None:
    write_reports(out)
    assert CliRunner().invoke(APP, [str(out), "--redact"]).exit_code == 0
    for path in (out / "report.html", out / "report.md"):
        assert [secret for secret in private if secret in path.read_text(encoding="utf-8")] == []


def test_reports_are_private_and_leave_no_partial_file(out: Path) -> None:
    page = write_reports(out)
    assert page == out / "report.html"
    assert page.stat().st_mode & 0o077 == 0
    assert not list(out.glob("*.partial*"))


def test_csv_has_one_line_a_metric(out: Path) -> None:
    CliRunner().invoke(APP, [str(out), "--format", "csv"])
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len((out / "results.jsonl").read_text(encoding="utf-8").splitlines())
    (sign,) = [row for row in rows if row["cell"] == "pae-probability-0--sign"]
    assert (sign["value"], sign["blind_outsider_value"], sign["blind_outsider_twin"]) == ("0.997", "0.412", "learner")


def test_csv_tells_roles_sweeps_victims_and_controls(tmp_path: Path) -> None:
    folder = write_audit(tmp_path / "six", **every_case(6))
    with (folder / "results.jsonl").open("a", encoding="utf-8") as results:
        point = row("x", "x", "sign", "labels", group="pae--difference-probability-", role="point")
        results.write(json.dumps(point | {"sweep": {"curve": "c", "setting": "sigma", "value": 0.5, "at": 1}}) + "\n")
    write_format(folder, "csv")
    with (folder / "report.csv").open(encoding="utf-8", newline="") as file:
        *_, last = rows = list(csv.DictReader(file))
    assert (last["role"], last["sweep_setting"], last["sweep_value"]) == ("point", "sigma", "0.5")
    best = next(line for line in rows if line["attack"] == "best" and line["label"] == DEFENDED)
    assert (best["victims"], best["chosen"], best["p_holm"]) == ("0;1;2;3;4;5", "sign;norm", "1.0")
    assert json.loads(best["defence"]) == {"noise": {"epsilon": 2.0}}
    assert (best["epsilon"], best["delta"], best["unit"]) == ("2.0", "1e-05", "label")
    lost = [best[f"utility_loss{end}"] for end in ("", "_low", "_high", "_verdict")]
    assert lost == ["0.22", "0.18", "0.26", "worse"]
    for name, own, undefended in (
        ("utility", "0.58", "0.8"),
        ("uplink_bytes_per_sample", "4704.4", "4600.0"),
        ("device_seconds_per_sample", "0.0042", "0.0031"),
    ):
        assert (best[name], best[f"undefended_{name}"]) == (own, undefended)
    plain = next(line for line in rows if line["label"] != DEFENDED)
    assert (plain["defence"], plain["epsilon"], plain["utility_loss"]) == ("", "", "")
    assert {name: one["succeeded"] for name, one in json.loads(best["controls"]).items()} == {
        "undefended": True, "weakest": True,
    }  # fmt: skip


def test_a_wrong_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no audit"):
        report(tmp_path)


def test_a_report_needs_no_heavy_library(out: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sidelight.reports.command import report; report(Path(sys.argv[1]));"
        "print(sorted({'torch', 'transformers', 'datasets', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        (
            "quick",
            "The command that made this audit was not stored",
        ),
        ("transcript", "The recording was made elsewhere, so that no command here makes it again."),
    ],
)
@pytest.mark.parametrize("redact", [False, True])
def test_where_no_command_was_stored_the_report_says_so(out: Path, suite: str, said: str, redact: bool) -> None:
    about = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    (out / "audit.json").write_text(json.dumps(about | {"suite": suite}), encoding="utf-8")
    write_reports(out, redact)
    assert [said in (out / f"report.{end}").read_text(encoding="utf-8") for end in ("html", "md")] == [True, True]
    (out / "command.txt").write_text("sidelight audit suite.json\n", encoding="utf-8")
    write_reports(out, redact)
    assert [said in (out / f"report.{end}").read_text(encoding="utf-8") for end in ("html", "md")] == [False, False]
