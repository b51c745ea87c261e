"""docs/transcripts.md: its tables follow from the code, and its example is recorded and attacked as shown."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import sidelight.attacks
from sidelight.audits import single
from sidelight.audits.executors import cores
from sidelight.audits.sandbox import guess_files
from sidelight.audits.sandbox.workers import Workers
from sidelight.audits.transcripts.facts import FACTS
from sidelight.system.files import read_json, read_lines
from sidelight.system.public import UNSAID

from ..small import results
from .borrowed import borrowing, typed
from .documented import page

PAGE = Path(__file__).parents[3] / "docs" / "transcripts.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_tables_follow_from_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def facts_read() -> Iterator[str]:
    """Names of facts that attacks look up, whatever they call what holds them."""
    for path in Path(str(sidelight.attacks.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Subscript(value=held, slice=ast.Constant(value=str(name))) if ast.unparse(held).endswith(
                    "facts"
                ):
                    yield name
                case ast.Call(func=ast.Attribute(value=held, attr="get"), args=[ast.Constant(value=str(name)), *_]) if (
                    ast.unparse(held).endswith("facts")
                ):
                    yield name


def test_every_fact_that_an_attack_reads_is_documented_and_checked() -> None:
    found = set(facts_read())
    assert {"layers", "difference", "fusion", "clip"} < found
    assert found <= FACTS.keys()
    taken = {fact for attack in sidelight.attacks.ATTACKS.values() for fact in attack.assumes}
    assert taken <= FACTS.keys()
    assert UNSAID.keys() <= FACTS.keys()


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders that the page's code makes."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, str(PAGE), "exec"), {})  # noqa: S102  the page's own code, which users run
    return tmp_path


def test_the_example_is_attacked_as_shown(example: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    guess, score = blocks("sh")[1].strip().splitlines()
    for module in (single, cores):
        monkeypatch.setattr(module, "Workers", borrowing(workers))
    assert typed(*shlex.split(guess)[1:]) == 0
    found = guess_files.load(example / "guesses" / "sign")
    rows = {row["id"]: row["label"] for row in read_lines(example / "truth" / "rows.jsonl")}
    labels = read_json(example / "public" / "public.json")["labels"]
    assert {i: labels[k] for i, k in zip(found.ids, found.labels.tolist(), strict=True)} == rows  # type: ignore[union-attr]
    assert typed(*shlex.split(score)[1:]) == 0
    (row,) = (row for row in results(example / "results") if row["primary"])
    assert (row["attack"], row["value"], row["n"], row["verdict"]) == ("addback", 1.0, 60, "leaks")
    report = (example / "results" / "report.html").read_text(encoding="utf-8")
    assert "recording that was made elsewhere" in report
