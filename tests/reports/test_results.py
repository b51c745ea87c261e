"""An audit's folder is read as it was stored, or refused with a sentence that says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sidelight.reports.findings.answer import answer
from sidelight.reports.findings.summarise import summarise
from sidelight.reports.findings.wording import party
from sidelight.reports.stored.results import read_audit
from sidelight.system.errors import UsageError

from .folder import group, row, run, unscored

Build = Callable[..., Path]


def test_every_run_row_and_example_is_read(out: Path) -> None:
    audit = read_audit(out)
    assert [run.protocol for run in audit.runs.values()] == ["local", "mobillm", "pae", "pae", "split"]
    assert len(audit.rows) == len((out / "results.jsonl").read_text(encoding="utf-8").splitlines())
    assert [example.id for example in audit.examples["mobillm-0--match"]] == ["s-1", "s-2"]


def test_of_many_seeds_the_first_with_examples_is_shown(tmp_path: Path, build: Build) -> None:
    """Thousands of seeds have thousands of examples, of which a page shows one cell's."""
    lines = [row("x-0", "x", "a", "labels", value=0.5, cells=["one", "two", "three"])]
    told = {cell: [{"id": cell, "original": "o", "guess": "g"}] for cell in ("two", "three")}
    audit = read_audit(build(tmp_path / "out", runs=[run("x-0", "x", [])], rows=lines, examples=told))
    assert {cell: [one.id for one in found] for cell, found in audit.examples.items()} == {"two": ["two"]}


def test_a_run_that_was_never_recorded_is_shown_by_its_failed_cells(tmp_path: Path, build: Build) -> None:
    unrecorded = group([run("x-0", "x", [])])
    lines = [row("x-0", "x", "sign", "labels", **unscored("failed", "no"))]
    (summary,) = summarise(read_audit(build(tmp_path / "out", runs=[], groups=[unrecorded], rows=lines, examples={})))
    assert not summary.run.recorded
    assert [row.reason for row in summary.failed] == ["no"]


def test_a_cell_without_a_headline_metric_still_shows(tmp_path: Path, build: Build) -> None:
    lines = [row("x-0", "x", "a", "labels", value=0.5, primary=False, judged=False)]
    (summary,) = summarise(read_audit(build(tmp_path / "out", runs=[run("x-0", "x", [])], rows=lines, examples={})))
    assert [row.value for row in summary.scored] == [0.5]


def test_what_a_party_beside_the_server_sees_is_unaudited(out: Path) -> None:
    summary = next(one for one in summarise(read_audit(out)) if one.unaudited == ())
    run = summary.run.model_copy(update={"others": {"federation": ("update", "held:average")}})
    found = replace(summary, runs=(run, *summary.runs[1:])).unaudited
    assert found == ("update at the federation server", "held:average at the federation server")


def test_parties_are_named_by_what_they_are() -> None:
    named = [party(name) for name in ("server", "federation", "eavesdropper")]
    assert named == ["the server", "the federation server", "the eavesdropper"]


def test_what_a_party_sees_is_audited_where_it_is_the_adversary_of_another_run(tmp_path: Path, build: Build) -> None:
    runs = [run("x-0", "x", []), run("y-0", "x (threat.adversary=federation)", [])]
    runs[0]["others"] = {"federation": ["update", "held:average"]}
    lines = [
        row("x-0", "x", "plaintext", "labels", value=1.0),
        row("y-0", runs[1]["label"], "update", "texts", value=0.5, adversary="federation", consumes=["update"]),
    ]
    audit = read_audit(build(tmp_path / "out", runs=runs, rows=lines, examples={}))
    assert summarise(audit)[0].unaudited == ("held:average at the federation server",)
    runs[1]["settings"] = {"every": 1}  # another training says nothing about this one
    other = read_audit(build(tmp_path / "other", runs=runs, rows=lines, examples={}))
    assert len(summarise(other)[0].unaudited) == 2


def test_devices_that_went_missing_are_told_in_the_answer(out: Path) -> None:
    audit = read_audit(out)
    summary = summarise(audit)[-1]
    noticed = {"federation": {"device-1 absent": 1}, "server": {"device-1 absent": 1, "device-2 stale": 3}}
    run = summary.run.model_copy(update={"incidents": noticed})
    found = replace(summary, runs=(run, *summary.runs[1:]))
    assert found.incidents == ("device-1 absent", "device-2 stale")
    told = [line for line in answer(audit, (found,)) if "device-1 absent and device-2 stale" in line]
    assert told == [f"Under {found.name} training went on without some updates: device-1 absent and device-2 stale."]


def test_what_no_scored_attack_consumes_is_unaudited(out: Path) -> None:
    unaudited = {summary.name: summary.unaudited for summary in summarise(read_audit(out))}
    assert unaudited["mobillm (precision=fp32)"] == ()
    assert unaudited["pae (difference=probability)"] == ("activations",)
    # its only text attack failed, so the activations count as not looked at
    assert unaudited["split (bottom=frozen, cut=2)"] == ("activations",)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a folder; give the folder that `sidelight audit --out` wrote"):
        read_audit(tmp_path / "absent")


def test_a_folder_without_audit_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no audit \(it holds no audit.json\)"):
        read_audit(tmp_path)


def test_an_audit_that_was_stopped_is_told_from_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match=r"is not finished; run `sidelight audit` with --out .* again"):
        read_audit(tmp_path)


def test_an_audit_without_results_is_refused(tmp_path: Path, build: Build) -> None:
    with pytest.raises(UsageError, match="has no results yet; run `sidelight audit"):
        read_audit(build(tmp_path / "out", rows=[]))


@pytest.mark.parametrize("name", ["groups.jsonl", "curves.jsonl"])
def test_a_folder_that_was_not_compiled_by_this_version_says_what_to_run(out: Path, name: str) -> None:
    (out / name).unlink()
    with pytest.raises(UsageError, match=rf"holds no {name}, which this version reports from; run `sidelight judge "):
        read_audit(out)


def test_rows_of_a_group_that_is_not_listed_are_refused(out: Path) -> None:
    groups = (out / "groups.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (out / "groups.jsonl").write_text("".join(groups[:-1]), encoding="utf-8")
    with pytest.raises(UsageError, match=r"rows of split \(bottom=frozen, cut=2\) that groups.jsonl lacks; run"):
        read_audit(out)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("not json", r"results\.jsonl line 20 is not valid JSON"),
        (json.dumps({"status": "failed", "cell": "c"}), r"results\.jsonl line 20: group is wrong \(Field required\)"),
        ("[]", r"results\.jsonl line 20: the record is wrong"),
    ],
)
def test_a_damaged_row_is_named(out: Path, damage: str, said: str) -> None:
    with (out / "results.jsonl").open("a", encoding="utf-8") as results:
        results.write(damage + "\n")
    with pytest.raises(UsageError, match=said):
        read_audit(out)
