"""Old versions still load: schema-1 is a recording of the first version, and is attacked and scored for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sidelight.attacks.attack import LabelGuess
from sidelight.audits import single
from sidelight.audits.executors import cores
from sidelight.audits.given.judging import judge_given
from sidelight.audits.given.reading import Folders, read
from sidelight.audits.sandbox import guess_files
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.single import attack_one
from sidelight.system.errors import UsageError
from sidelight.system.files import read_json, read_lines
from sidelight.system.progress import Progress
from sidelight.system.public import load_public
from sidelight.system.truth import load_truth
from sidelight.system.view import load_view

from ..small import results
from .borrowed import borrowing
from .conftest import FIRST

AT = Folders(FIRST / "view", FIRST / "public", FIRST / "truth")
NUMBERED = ("view/manifest.json", "public/public.json", "truth/truth.json")


def test_the_first_version_loads() -> None:
    view, public, truth = load_view(AT.view), load_public(AT.public), load_truth(AT.truth)
    assert len(view.messages) == 13
    assert sorted(view.kinds) == ["activations", "difference", "held:notes", "train"]
    assert view.rows("activations", "activations")[1].shape == (24, 2, 4)
    assert sorted(public.items) == ["auxiliary", "head", "known", "priors", "queries"]
    assert len(public.known) == 3
    assert (len(truth.rows), truth.query_labels[-1], truth.rows[0].tokens[1]) == (24, "amber", 7)


def test_the_first_version_is_attacked(workers: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(single, "Workers", borrowing(workers))
    (line, whole), *beside = attack_one(AT.view, AT.public, "sign", tmp_path / "guesses")
    assert whole, line
    assert all(said.startswith("unaudited: ") for said, _ in beside)
    guess = guess_files.load(tmp_path / "guesses" / "sign")
    assert isinstance(guess, LabelGuess)
    labels = read_json(AT.public / "public.json")["labels"]
    rows = {row["id"]: row["label"] for row in read_lines(AT.truth / "rows.jsonl")}
    assert {i: labels[k] for i, k in zip(guess.ids, guess.labels.tolist(), strict=True)} == rows


def test_a_kind_that_no_attack_reads_is_named(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(single, "Workers", borrowing(workers))
    view = tmp_path / "view"
    shutil.copytree(AT.view, view)
    lines = view / "messages.jsonl"
    misspelt = lines.read_text(encoding="utf-8").replace('"kind": "difference"', '"kind": "diference"')
    lines.write_text(misspelt, encoding="utf-8")
    said = [line for line, _ in attack_one(view, AT.public, "sign", tmp_path / "guesses")]
    assert said[0].startswith("sign: not_exposed")
    assert any(line.startswith("unaudited: no attack reads diference,") for line in said)


def test_the_first_version_is_scored(workers: Workers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "Workers", borrowing(workers))
    assert judge_given(AT, tmp_path / "out", ["sign", "plaintext"], Progress(print))
    rows = {row["attack"]: row for row in results(tmp_path / "out") if row["metric"] in ("accuracy", None)}
    sign = rows["sign"]
    # three of the 24 rows are known beforehand and not scored; three of the four queries are right
    assert (sign["value"], sign["n"], sign["utility"], sign["protocol"]) == (1.0, 21, 0.75, "pae")
    assert rows["plaintext"]["status"] == "not_exposed"


@pytest.mark.parametrize("name", NUMBERED)
def test_what_a_newer_version_made_is_refused(copy: Folders, name: str) -> None:
    path = copy.view.parent / name
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**stored, "schema": 2}), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"{name} was made by a newer Sidelight \(schema 2, and this one reads 1\)"):
        read(copy)


@pytest.mark.parametrize("schema", [0, "1", 1.0, None, True])
def test_a_schema_is_a_whole_number(copy: Folders, schema: object) -> None:
    path = copy.public / "public.json"
    path.write_text(json.dumps({**read_json(path), "schema": schema}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"public\.json: schema is no number of a format; give 1"):
        read(copy)


def test_what_is_written_today_says_its_version(copy: Folders, tmp_path: Path) -> None:
    load_public(copy.public).save(tmp_path / "public")
    load_truth(copy.truth).save(tmp_path / "truth")
    assert [read_json(tmp_path / name)["schema"] for name in NUMBERED[1:]] == [1, 1]
    assert load_public(tmp_path / "public").facts == load_public(copy.public).facts
