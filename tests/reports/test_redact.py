"""A redacted report holds no private text, no label of a row and no path, in any format, and everything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidelight.reports.stored.redact import redacted, scrubbed
from sidelight.reports.stored.results import read_audit
from sidelight.reports.written import FORMATS

from .every_case import every_case
from .folder import write_audit


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_holds_anything_private(name: str, out: Path, private: tuple[str, ...]) -> None:
    text = FORMATS[name](redacted(read_audit(out)))
    assert [secret for secret in private if secret in text] == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_path_with_spaces_goes_as_a_whole(name: str, out: Path) -> None:
    (out / "command.txt").write_text("sidelight audit s.json --data '/home/alice/Acme Layoffs/rows march.jsonl'\n")
    about = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    about["data"]["name"] = "Acme Layoffs/rows march.jsonl"
    (out / "audit.json").write_text(json.dumps(about), encoding="utf-8")
    text = FORMATS[name](redacted(read_audit(out)))
    assert [word for word in ("Acme", "Layoffs", "march") if word in text] == []


@pytest.mark.parametrize("name", FORMATS)
def test_curves_controls_and_groups_keep_no_private_text_either(name: str, tmp_path: Path) -> None:
    parts = every_case(1)
    broken = "ValueError: 'lost_card_label' in /home/alice/rows.jsonl"
    for one in parts["curves"]:
        one["points"][-1] |= {"x": "/home/alice/four", "status": "failed", "reason": broken, "value": None}
        one["settings"] = {"candidates": "/home/alice/five.jsonl"}
    for one in parts["groups"]:
        one["floor"] = {"value": 0.5, "reached": True, "from": "/home/alice/six.json"}
    for one in parts["rows"]:
        one["reason"] = broken
    text = FORMATS[name](redacted(read_audit(write_audit(tmp_path / "out", **parts))))
    assert [secret for secret in ("alice", "lost_card_label", "jsonl") if secret in text] == []


PRIVATE_SETTINGS = {
    "adapter": "Acme march", "classes": ["Layoffs", "topping up"], "form": "Dear {text}, topping up",
    "inner": {"file": "/home/alice/Acme Layoffs/rows march", "files": ["~/Acme Layoffs/march"]}, "auxiliary": "none",
}  # fmt: skip
PRIVATE_WORDS = ("Acme", "Layoffs", "march", "Dear", "topping", "alice")


def with_private_settings(out: Path) -> Path:
    """An audit whose settings, on each run, row and curve, and in the names made of them, are private."""
    parts = every_case(1)
    for one in (*parts["runs"], *parts["rows"], *parts["curves"]):
        one["settings"] = PRIVATE_SETTINGS
    for one in (*parts["runs"], *parts["rows"]):
        one["threat"] = {**one["threat"], "auxiliary": "/home/alice/Acme Layoffs/other march.csv"}
    for one in (*parts["runs"], *parts["rows"], *parts["curves"], *parts["groups"]):
        one["label"] += " + released (adapter=Acme march, file=/home/alice/Acme Layoffs/rows march)"
    return write_audit(out, **parts)


@pytest.mark.parametrize("name", FORMATS)
def test_settings_keep_no_private_word(name: str, tmp_path: Path) -> None:
    text = FORMATS[name](redacted(read_audit(with_private_settings(tmp_path / "out"))))
    assert [word for word in PRIVATE_WORDS if word in text] == []


def test_what_is_not_private_in_settings_stays(tmp_path: Path) -> None:
    told = read_audit(with_private_settings(tmp_path / "out"))
    kept = redacted(told)
    settings = {"adapter": "[path]", "classes": 2, "form": "[removed]",
                "inner": {"file": "[path]", "files": ["[path]"]}, "auxiliary": "none"}  # fmt: skip
    assert [run for run in kept.runs.values() if run.settings != settings] == []
    assert [row for row in kept.rows if row.settings != settings] == []
    assert [curve for curve in kept.curves if curve.settings != settings] == []
    assert {row.stored["settings"]["classes"] for row in kept.rows} == {2}
    assert {row.label.partition(" + ")[2] for row in kept.rows} == {"released (adapter=[path], file=[path])"}
    assert {row.threat["adversary"] for row in kept.rows} == {"server"}
    unchanged = FORMATS["md"](told)
    assert [word for word in PRIVATE_WORDS if word not in unchanged] == []


@pytest.mark.parametrize("name", ["html", "md"])
def test_the_unredacted_report_holds_it(name: str, out: Path, private: tuple[str, ...]) -> None:
    text = FORMATS[name](read_audit(out)).replace("\\", "")
    assert [secret for secret in private if secret not in text] == []


@pytest.mark.parametrize("name", ["html", "md"])
def test_a_redacted_report_says_so_and_keeps_the_figures(name: str, out: Path) -> None:
    text = FORMATS[name](redacted(read_audit(out)))
    for kept in (
        "redacted: private texts",
        "0.997",
        "ValueError: ",
        "ran past 60 s",
        "614,400,000",
        "device defines it",
    ):
        assert kept in text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/alice/rows.jsonl", "[path]"),
        ("see ~/rows and ../other/rows.csv", "see [path] and [path]"),
        ("shared/data/lm_tinystories_656k", "[path]"),
        ("rows.csv", "[path]"),
        (r"C:\Users\alice\rows", "[path]"),
        ("PolyAI/banking77", "PolyAI/banking77"),
        ("pae (difference=probability)", "pae (difference=probability)"),
        ("arXiv 2507.01216", "arXiv 2507.01216"),
        ("2.13.0+cpu", "2.13.0+cpu"),
    ],
)
def test_paths_are_removed_and_other_names_stay(text: str, left: str) -> None:
    assert scrubbed(text) == left


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("ValueError: my card is lost", "ValueError: [removed]"),
        ("KeyError('my card')", "KeyError: [removed]"),
        ('row "my card" has no label', "row [removed] has no label"),
        ("the attack's ids aren't the view's", "the attack's ids aren't the view's"),
        ("ran past 60 s", "ran past 60 s"),
    ],
)
def test_reasons_keep_the_kind_of_an_error_but_not_what_it_quotes(reason: str, left: str) -> None:
    assert scrubbed({"reason": reason}) == {"reason": left}
