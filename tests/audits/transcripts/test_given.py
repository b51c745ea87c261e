"""A recording with its truth becomes a report like an audit's, without what nobody knows."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidelight.attacks import ATTACKS
from sidelight.audits.executors import cores
from sidelight.audits.given.judging import judge_given
from sidelight.audits.given.reading import Folders
from sidelight.audits.sandbox.workers import Workers
from sidelight.reports.stored.results import read_audit
from sidelight.system.errors import UsageError
from sidelight.system.files import read_json, read_lines, write_json, write_lines
from sidelight.system.progress import Progress

from ..small import installed, results
from .borrowed import borrowing, typed

Attacked = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def borrowed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "Workers", borrowing(workers))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def judged(copy: Folders, out: Path, *attacks: str) -> tuple[bool, list[str]]:
    said: list[str] = []
    return judge_given(copy, out, attacks, Progress(said.append)), said


def changed(path: Path, **fields: Any) -> None:
    write_json(path, {**(read_json(path) if path.exists() else {}), **fields})


def run_of(out: Path) -> dict[str, Any]:
    (path,) = (out / "runs").glob("*/run.json")
    found: dict[str, Any] = read_json(path)
    return found


def test_everything_is_for_its_owner_alone(copy: Folders, out: Path) -> None:
    judged(copy, out, "sign")
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    inside = {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_dir()}
    assert inside == {0o700}
    assert (copy.view / "manifest.json").is_file()


def test_what_nobody_told_is_absent_and_the_report_says_so(copy: Folders, out: Path) -> None:
    for name in ("outputs.safetensors", "queries.json", "members.json"):
        (copy.truth / name).unlink()
    judged(copy, out, "sign")
    audit = read_audit(out)
    (run,) = audit.runs.values()
    assert (run.utility, run.floor, run.uplink_bytes_per_sample, run.device_seconds_per_sample) == (None,) * 4
    assert {(one.kind, one.messages, one.bytes) for one in run.traffic} == {
        ("activations", 4, None), ("difference", 4, None), ("train", 4, None), ("ready", 1, None),
    }  # fmt: skip
    said = " ".join(audit.head.data.notices)
    assert "made elsewhere" in said
    assert "Nobody told how useful the tuned model is, how many bytes cross or what the device computes" in said
    assert (audit.head.backbone.name, run.threat["behaviour"]) == ("not told", "honest-but-curious")


def test_bytes_that_the_recorder_counted_are_told(copy: Folders, out: Path) -> None:
    up = {"kind": "activations", "sender": "device-0", "receiver": "server", "messages": 4, "bytes": 480}
    down = {"kind": "ready", "sender": "server", "receiver": "device-0", "messages": 1, "bytes": 24, "measured": "grpc"}
    write_json(copy.view.parent / "run.json", {"traffic": [up, down]})
    judged(copy, out, "sign")
    run = run_of(out)
    assert (run["uplink_bytes_per_sample"], run["downlink_bytes_per_sample"]) == (480 / 24, 24 / 24)
    write_json(copy.view.parent / "run.json", {"traffic": [{**up, "bytes": -1}]})
    with pytest.raises(UsageError, match=r"run\.json: traffic, entry 0: bytes is -1; give a whole number from 0 up"):
        judged(copy, out.with_name("other"), "sign")


def test_claims_stand_there_only_where_the_maker_made_them(copy: Folders, out: Path) -> None:
    judged(copy, out, "sign")
    assert (run_of(out)["claims"], run_of(out)["source"]) == ({}, "arXiv 2507.01216")


def test_the_same_command_goes_on_and_another_recording_is_refused(copy: Folders, out: Path) -> None:
    judged(copy, out, "sign")
    (cell,) = (out / "cells").iterdir()
    before = (cell / "result.json").stat().st_mtime_ns
    assert judged(copy, out, "sign") == (True, [])
    assert (cell / "result.json").stat().st_mtime_ns == before
    changed(copy.public / "public.json", priors=[0.5, 0.25, 0.25])
    with pytest.raises(UsageError, match="holds another audit; give another --out"):
        judged(replace(copy), out, "sign")


def test_a_goal_that_the_truth_cannot_judge_says_why(copy: Folders, out: Path) -> None:
    rows = [{"id": row["id"], "text": row["text"]} for row in read_lines(copy.truth / "rows.jsonl")]
    write_lines(copy.truth / "rows.jsonl", rows)
    for name in ("outputs.safetensors", "queries.json"):
        (copy.truth / name).unlink()
    judged(copy, out, "sign", "lookup", "readoff")
    reasons = {row["attack"]: (row["status"], row["reason"]) for row in results(out) if row["attack"] != "best"}
    assert reasons["sign"] == (
        "not_applicable",
        "the truth says no labels; give `label` in every line of its rows.jsonl",
    )
    assert "name the backbone in truth.json" in reasons["lookup"][1]
    assert "holds no outputs.safetensors" in reasons["readoff"][1]


def test_tokens_come_from_a_backbone_that_the_truth_alone_names(copy: Folders, out: Path) -> None:
    rows = [
        {"id": row["id"], "text": row["text"], "label": row["label"]} for row in read_lines(copy.truth / "rows.jsonl")
    ]
    write_lines(copy.truth / "rows.jsonl", rows)
    write_json(copy.truth / "truth.json", {"schema": 1, "backbone": "sidelight-tiny"})
    judged(copy, out, "sign", "cleartext")
    (path,) = (out / "runs").glob("*/truth/rows.jsonl")
    assert all(len(row["tokens"]) == len(row["slots"]) > 0 for row in read_lines(path))
    assert {row["attack"]: row["status"] for row in results(out)}["cleartext"] == "not_exposed"
    assert read_audit(out).head.backbone.name == "sidelight-tiny"


def test_all_positions_do_not_go_with_attacks_that_join_a_difference_with_one(copy: Folders, out: Path) -> None:
    for path in (copy.view / "manifest.json", copy.public / "public.json"):
        changed(path, facts={**read_json(path)["facts"], "positions": "all"})
    assert judged(copy, out, "sign", "regress")[0]
    rows = {row["attack"]: row for row in results(out) if row["primary"]}
    assert rows["sign"]["value"] == 1.0
    assert rows["regress"]["reason"] == "positions is all; the attack takes pivot or mean"


def test_rows_that_never_crossed_are_left_out(copy: Folders, out: Path) -> None:
    rows = read_lines(copy.truth / "rows.jsonl")
    write_lines(copy.truth / "rows.jsonl", [*rows, {**rows[0], "id": "elsewhere"}])
    judged(copy, out, "sign")
    assert any(
        said == "1 rows of the truth never crossed and are left out." for said in read_audit(out).head.data.notices
    )
    assert next(row for row in results(out) if row["primary"])["n"] == 21


def test_samples_that_the_truth_says_nothing_of_are_counted(copy: Folders, out: Path) -> None:
    write_lines(copy.truth / "rows.jsonl", read_lines(copy.truth / "rows.jsonl")[:-2])
    judged(copy, out, "sign")
    (said,) = [one for one in read_audit(out).head.data.notices if "have no row" in one]
    assert said == "2 of 24 samples that crossed have no row in the truth: figures are of the other 22 alone."
    assert next(row for row in results(out) if row["primary"])["n"] == 19


def test_a_truth_of_every_sample_is_told_nothing_of(copy: Folders, out: Path) -> None:
    judged(copy, out, "sign")
    assert [one for one in read_audit(out).head.data.notices if "have no row" in one] == []


@pytest.mark.parametrize(
    ("threat", "said"),
    [
        ({"adversary": "relay"}, "threat: adversary is not the manifest's parties, which are server; name those"),
        ({"auxiliary": "none"}, "threat: auxiliary is 'none', and the public folder holds it; remove one"),
        ({"behaviour": ["odd"]}, "threat: behaviour is a list of 1; give a text, a number, true or false"),
    ],
)
def test_a_threat_model_that_contradicts_the_folders_is_refused(
    copy: Folders, out: Path, threat: dict[str, Any], said: str
) -> None:
    for path in (copy.view / "manifest.json", copy.public / "public.json"):
        changed(path, facts={**read_json(path)["facts"], "threat": threat})
    with pytest.raises(UsageError, match=said):
        judged(copy, out, "sign")
    assert not out.exists()


def test_an_unsaid_threat_model_is_what_the_folders_show(copy: Folders, out: Path) -> None:
    for path in (copy.view / "manifest.json", copy.public / "public.json"):
        changed(path, facts={name: value for name, value in read_json(path)["facts"].items() if name != "threat"})
    judged(copy, out, "sign")
    threat = run_of(out)["threat"]
    assert (threat["adversary"], threat["backbone"], threat["auxiliary"], threat["known_labels"]) == (
        "server", "private", "labelled", 1,
    )  # fmt: skip
    assert any("taken to be honest-but-curious" in said for said in read_audit(out).head.data.notices)


@pytest.fixture
def attacked(copy: Folders, capsys: pytest.CaptureFixture[str]) -> Attacked:
    """Types `sidelight attack` on the copy: its exit status, and all that it said."""

    def run(*arguments: object) -> tuple[int, str]:
        status = typed("attack", copy.view, "--public", copy.public, "--truth", copy.truth, *arguments)
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return run


def test_an_attack_that_fails_ends_with_one(attacked: Attacked, out: Path) -> None:
    with installed(raising="plugin_attacks:Raising"):
        status, _ = attacked("--attack", "raising", "--out", out)
    assert status == 1
    assert (out / "report.html").is_file()


def test_a_folder_of_somebody_elses_is_never_written_to(attacked: Attacked, out: Path) -> None:
    out.mkdir()
    (out / "letters.txt").write_text("mine", encoding="utf-8")
    status, said = attacked("--attack", "sign", "--out", out)
    assert (status, [path.name for path in out.iterdir()]) == (2, ["letters.txt"])
    assert "holds files that are no audit's; give a folder of an audit" in said


def test_wrong_folders_and_names_leave_nothing(attacked: Attacked, copy: Folders, out: Path) -> None:
    assert attacked("--attack", "sgin", "--out", out)[0] == 2
    (copy.view / "messages.jsonl").write_text(json.dumps({"kind": "x"}) + "\n", encoding="utf-8")
    status, said = attacked("--attack", "sign", "--out", out)
    assert (status, said.count("\n"), out.exists()) == (2, 1, False)
    assert "messages.jsonl line 1 has no sender; give letters" in said


def test_results_are_stated_again(copy: Folders, out: Path) -> None:
    judged(copy, out, "sign", "regress")
    before = results(out)
    assert (typed("judge", out), results(out)) == (0, before)


def test_a_plug_in_that_cannot_be_loaded_is_told_and_the_others_are_judged(
    attacked: Attacked, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ATTACKS, "_origins", {"torn": "theirs 1.0"})
    monkeypatch.setattr(ATTACKS, "_table", {"sign": ATTACKS._table["sign"], "torn": "nowhere:Torn"})
    status, said = attacked("--out", out)
    assert status == 1
    assert "sidelight: the attack 'torn' of theirs 1.0 cannot be loaded (ModuleNotFoundError" in said
    assert {row["attack"]: row["status"] for row in results(out)} == {"sign": "scored"}
    status, said = attacked("--attack", "torn", "--out", out.with_name("other"))
    assert (status, said.count("\n"), out.with_name("other").exists()) == (2, 1, False)
