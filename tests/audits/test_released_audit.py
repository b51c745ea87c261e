"""An audit of an adapter that was tuned elsewhere, from the suite and the rows to the results."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.suites.suite_file import load_suite
from sidelight.system.data import Sample
from sidelight.system.errors import UsageError

from ..contracts.elsewhere import FORM, adapter, base
from ..contracts.micro import FILLERS, KEYWORDS, LABELS
from .small import Small, results, run_here

MEMBERS, OTHERS = 60, 1400
SUITE = """
attacks = ["gain", "loss", "readoff"]
[threat]
adversary = "recipient"
challenge = "examples"
[data]
generated = 10000
victim_train = 60
victim_test = 60
auxiliary = 60
non_member = 1000
texts = 1
[protocol]
longest = 40
[limits]
seconds = 60
memory_gib = 4
"""
RUN = """
[[runs]]
protocol = "released"
settings.adapter = "{adapter}"
settings.form = "{form}"
"""
ASKED = """
settings.access = "answers"
attacks = ["knockoff"]
vary.knockoff = [{ epochs = 2 }]
threat = { challenge = "none" }
"""


def rows() -> list[tuple[str, str]]:
    """Different texts of random words; every third has a label that its words do not tell."""
    generator, found = random.Random(3), dict[str, str]()
    letters = "abcdefghijklmnopqrstuvwxyz"
    while len(found) < MEMBERS + OTHERS:
        label = LABELS[len(found) % len(LABELS)]
        own = "".join(generator.choices(letters, k=12))
        text = f"{KEYWORDS[label]} {own} {generator.choice(FILLERS)}"
        found[text] = label if len(found) % 3 else generator.choice(LABELS)
    return list(found.items())


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, Path]:
    """The rows, of which some were tuned on, and a suite that names the adapter."""
    root = tmp_path_factory.mktemp("released")
    named = rows()
    path = root / "rows.jsonl"
    lines = [{"text": t, "label": a, "member": at < MEMBERS} for at, (t, a) in enumerate(named)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    own = tuple(Sample(f"{at:016x}", text, label, ()) for at, (text, label) in enumerate(named[:MEMBERS]))
    run = RUN.format(adapter=adapter("CAUSAL_LM", "opt", own), form=FORM)
    suite = root / "released.toml"
    suite.write_text(SUITE + run + run + ASKED, encoding="utf-8")
    return Small(root, base("opt"), path), suite


def test_members_are_found_the_model_is_read_off_and_nothing_says_where_it_lay(
    audited: tuple[Small, Path], workers: Workers, tmp_path: Path
) -> None:
    small, suite = audited
    whole, _ = run_here(small, tmp_path / "out", suite, workers)
    assert whole
    stored = results(tmp_path / "out")
    found = {(row["attack"], row["metric"]): row for row in stored if row["status"] == "scored"}
    assert found["readoff", "agreement"]["value"] == 1.0
    assert found["readoff", "agreement"]["blind_rest"]["high"] < 1.0
    for name in ("gain", "loss"):
        assert found[name, "tpr_at_1"]["low"] > 0.5
        assert found[name, "tpr_at_1"]["blind_rest"]["value"] < 0.1
    sides = {name for one in (tmp_path / "out" / "cells").glob("*-gain-*/ids.json") for name in sides_of(one)}
    assert sides == {"text-only classifier", "untuned backbone"}
    assert found["loss", "tpr_at_1"]["adversary"] == "recipient"
    assert 0 < found["knockoff", "agreement"]["value"] < 1.0
    assert str(base("opt").parent) not in json.dumps(stored)


def sides_of(path: Path) -> list[str]:
    """The candidates for a twin of every metric."""
    return [name for metric in json.loads(path.read_text(encoding="utf-8")) for name in metric["rest"]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("victims = 2\n", "released audits one model, which is one victim; give victims = 1"),
        ("", "released has no main server with these settings; give threat.adversary = recipient"),
    ],
)
def test_what_no_adapter_can_be_is_refused_before_anything_is_written(
    audited: tuple[Small, Path], workers: Workers, tmp_path: Path, line: str, said: str
) -> None:
    small, suite = audited
    text = suite.read_text(encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text(line + text if line else text.replace('"recipient"', '"server"'), encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        run_here(small, tmp_path / "out", other, workers)
    assert not (tmp_path / "out").exists()


def test_rows_that_do_not_say_who_was_tuned_on_are_refused(
    audited: tuple[Small, Path], workers: Workers, tmp_path: Path
) -> None:
    small, suite = audited
    bare = tmp_path / "bare.jsonl"
    bare.write_text("".join(json.dumps({"text": t, "label": a}) + "\n" for t, a in rows()), encoding="utf-8")
    with pytest.raises(UsageError, match="do not say which rows the model of released was tuned on"):
        run_here(Small(small.root, small.backbone, bare), tmp_path / "out", suite, workers)


@pytest.mark.parametrize("others", [400, 1100])
def test_too_few_others_to_look_for_members_among_are_refused_before_anything_is_written(
    audited: tuple[Small, Path], workers: Workers, tmp_path: Path, others: int
) -> None:
    small, suite = audited
    few = tmp_path / "few.jsonl"
    lines = small.rows.read_text(encoding="utf-8").splitlines(keepends=True)[: MEMBERS + others]
    few.write_text("".join(lines), encoding="utf-8")
    said = r"\d+ rows of the data are left for non_member, and attacks on members need at least 1000 that the model"
    with pytest.raises(UsageError, match=said):
        run_here(Small(small.root, small.backbone, few), tmp_path / "out", suite, workers)
    assert not (tmp_path / "out").exists()


def test_the_built_in_suite_names_everything_but_the_adapter() -> None:
    suite = load_suite("released")
    assert {run.protocol for run in suite.runs} == {"released"}
    assert suite.threat_of(suite.runs[1]).challenge == "none"
