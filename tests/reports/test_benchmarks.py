"""What benchmarks found stands on one dated page: bars first, and nothing measured is mixed with what is modelled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sidelight.benchmarks.finding import Finding, Headline, Plot, Table
from sidelight.benchmarks.stored import read_findings, store
from sidelight.reports.figures.plot_figure import plotted
from sidelight.reports.formats.benchmarks import answer, html, markdown
from sidelight.reports.written import compare_and_write, show_and_write, write_format
from sidelight.system.errors import UsageError

from .test_html import Page

GROWTH = Plot("Time by samples", "samples", "seconds", {"server": [(100, 0.1), (1000, 1.0), (10000, 10.0)]})
FOUND = Finding(
    name="growth",
    title="Growth <of> time",
    kind="measured",
    about="A `server` alone.",
    headlines=(Headline("exponent in samples", 1.01, 1.05, at="most"), Headline("speed", 0.7, 0.8, "bound 0.9")),
    rows=({"texts": 100, "seconds": 0.1}, {"texts": 10000, "seconds": None}),
    notes=("One thread.",),
    plots=(GROWTH,),
    tables=(Table("By <device>", ({"seconds": 1.5, "devices": 3},)),),
)
LINKS = Finding(
    name="links", title="Links", kind="modelled", about="By rate.", headlines=(Headline("LTE", 2.0, None),), rows=()
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for one in (FOUND, LINKS):
        store(one, tmp_path)
    return tmp_path


def test_what_was_stored_is_read_again(folder: Path) -> None:
    growth, links = read_findings(folder)
    assert replace(growth.finding, plots=()).as_markdown() == FOUND.as_markdown()
    assert growth.finding.plots[0].series["server"] == [(100, 0.1), (1000, 1.0), (10000, 10.0)]
    assert links.finding.as_markdown() == LINKS.as_markdown()
    assert growth.versions["torch"]


def test_the_answer_counts_bars_and_names_those_that_were_missed(folder: Path) -> None:
    assert answer(read_findings(folder)) == "1 of 2 bars are reached; missed: speed."


def test_the_page_stands_alone_and_says_what_is_modelled(folder: Path) -> None:
    page = html(read_findings(folder))
    assert Page(page).open == []
    assert not [sign for sign in ("http:", "https:", "url(", "<script", "@import", "<of>", "<device>") if sign in page]
    assert "Links <small>modelled, 20" in page
    assert "at most 1.05" in page
    assert "<h3>By &lt;device&gt;</h3>" in page
    assert '<th scope="row">1.5</th><td>3</td>' in page
    assert page.count("<svg") == 1


def test_markdown_has_a_row_for_each_bar_and_each_row(folder: Path) -> None:
    text = markdown(read_findings(folder))
    assert "| speed; bound 0.9 | 0.7 | at least 0.8 | no |" in text
    assert "| 100 | 0.1 |" in text
    assert "| 10,000 | - |" in text
    assert "### By &lt;device&gt;\n\n| seconds | devices | \n| --- | --- |\n| 1.5 | 3 | \n" in text
    assert "## Links (modelled, 20" in text


def test_a_line_goes_through_the_median_of_what_was_measured_at_one_size() -> None:
    drawn = plotted(replace(GROWTH, series={"a": [(100, 0.1), (100, 0.3), (100, 10.0), (10000, 1.0)]}), "g")
    assert drawn is not None
    assert drawn.count("<circle") == 4
    assert drawn.split('<path class="line" d="M58.0 ')[1].startswith("216.5 L440.0 147.0")


def test_benchmarks_of_two_times_are_not_compared(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"regression COMMIT COMMIT` runs two commits in turns$"):
        compare_and_write(folder, folder, None)


def test_a_benchmarks_folder_is_reported_like_an_audits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_and_write(folder) == folder / "benchmarks.html"
    assert "missed: speed" in capsys.readouterr().out
    assert {path.name for path in folder.glob("benchmarks.*")} == {"benchmarks.html", "benchmarks.md"}


def test_a_format_of_audits_alone_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="html, md"):
        write_format(folder, "latex")


def test_a_broken_finding_is_named(folder: Path) -> None:
    path = folder / "links.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "guessed"}))
    with pytest.raises(UsageError, match=r"links\.json: kind is wrong"):
        read_findings(folder)


def test_a_power_law_is_a_straight_line_from_corner_to_corner() -> None:
    drawn = plotted(GROWTH, "g")
    assert drawn is not None
    assert 'd="M58.0 280.0 L249.0 147.0 L440.0 14.0"' in drawn
    assert "100: 0.1, 1000: 1, 10000: 10" in drawn


def test_what_a_logarithm_has_no_place_for_is_not_drawn() -> None:
    assert plotted(Plot("t", "x", "y", {"a": [(0, 1.0)]}), "g") is None
    assert plotted(Plot("t", "x", "y", {}), "g") is None
