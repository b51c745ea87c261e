"""A benchmark's finding as a page and as data."""

from __future__ import annotations

import inspect
import json
import os
from datetime import datetime
from pathlib import Path

from typer.testing import CliRunner

from sidelight.benchmarks import BENCHES
from sidelight.benchmarks.command import bench
from sidelight.benchmarks.finding import Bench, Finding, Headline, Table, shown
from sidelight.benchmarks.material import joined
from sidelight.benchmarks.stored import store
from sidelight.system.backbone import load_backbone
from sidelight.system.command import build
from sidelight.system.data import Split
from sidelight.system.errors import UnknownName, UsageError

from ..contracts.micro import LABELS, VICTIM, Micro

FOUND = Finding(
    name="some",
    title="Some figures",
    kind="modelled",
    about="Two rows.",
    headlines=(
        Headline("saved, in %", 81.24, 79),
        Headline("ratio", 3.0, None),
        Headline("gap", 1.0, 2.0, "one draw"),
        Headline("longer, in %", 4.0, 5.0, at="most"),
    ),
    rows=({"protocol": "a", "bytes": 12345, "share": 0.12345}, {"protocol": "b", "bytes": None, "share": 1234.5}),
    notes=("A note.",),
    tables=(Table("By size (modelled)", ({"size": 1, "bytes": 2048},)), Table("Nothing", ())),
)


def test_a_page_says_what_was_modelled_and_which_bars_were_reached() -> None:
    page = FOUND.as_markdown()
    assert page.startswith("# Some figures (modelled)\n")
    assert "- saved, in %: **81.2**, reached (bar: at least 79)\n" in page
    assert "- ratio: **3**\n" in page
    assert "- longer, in %: **4**, reached (bar: at most 5)\n" in page
    assert "- gap: **1**, not reached (bar: at least 2); one draw\n" in page
    assert "| a | 12,345 | 0.123 |\n| b | - | 1,234 |\n" in page
    assert "## By size (modelled)\n\n| size | bytes |\n|---|---|\n| 1 | 2,048 |\n" in page


def test_bars_that_were_missed_are_named() -> None:
    assert [one.claim for one in FOUND.missed] == ["gap"]


def test_both_files_are_written_with_the_versions(tmp_path: Path) -> None:
    store(FOUND, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "some.json").read_text())
    assert [one["reached"] for one in stored["headlines"]] == [True, None, False, True]
    assert stored["tables"][0] == {
        "title": "By size (modelled)",
        "columns": ["size", "bytes"],
        "rows": [{"size": 1, "bytes": 2048}],
    }
    assert stored["versions"].keys() == {"python", "sidelight", "torch", "transformers", "peft"}
    assert stored["machine"]["cores"] == os.cpu_count()
    assert datetime.strptime(stored["created"], "%Y-%m-%dT%H:%M:%SZ")
    assert (tmp_path / "out" / "some.md").read_text() == FOUND.as_markdown()


def test_cells_are_short() -> None:
    assert [shown(cell) for cell in (None, 0.5, 12, "x", 4321.0)] == ["-", "0.5", "12", "x", "4,321"]


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(build(), ["bench", "memry"])
    assert isinstance(result.exception, UnknownName)
    assert "did you mean 'memory'" in str(result.exception)


def test_a_folder_below_a_file_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(build(), ["bench", "limits", "--out", str(tmp_path / "file" / "below")])
    assert isinstance(result.exception, UsageError)
    assert "file is a file; give a folder" in str(result.exception)


def test_a_page_names_a_file_and_not_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("")
    found = Bench("sidelight-tiny", str(tmp_path / "own.jsonl"))
    assert (found.model, found.texts) == ("sidelight-tiny", "own.jsonl")


def test_the_help_names_every_benchmark() -> None:
    names = inspect.signature(bench).parameters["names"].annotation
    assert f"{', '.join(sorted(BENCHES))}; all if absent." in str(names)


def test_rows_of_a_class_are_joined_until_they_are_long_enough(micro: Micro) -> None:
    backbone = load_backbone(str(micro.folders["opt"]))
    parts = joined(Split(VICTIM, VICTIM, (), (), LABELS), backbone, 12)
    by_id = {sample.id: sample for sample in VICTIM}
    assert parts.victim_train == parts.victim_test
    assert len(parts.victim_train) < len(VICTIM)
    for sample in parts.victim_train:
        assert len(backbone.token_ids(sample.text)) >= 12
        assert sample.label == by_id[sample.id].label
        assert sample.text.endswith(by_id[sample.id].text)
