"""Two audits are compared by their intervals: what changed by more than chance is said, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from sidelight.reports.comparison.compare import Comparison, compare
from sidelight.reports.comparison.difference import difference, holm
from sidelight.reports.comparison.sentences import sentences
from sidelight.reports.stored.records import Estimate
from sidelight.reports.stored.results import read_audit
from sidelight.reports.written import compare_and_write
from sidelight.system.errors import UsageError

from .conftest import AUDIT, ROWS, RUNS
from .folder import row, run, scored
from .test_command import APP
from .test_html import Page

Build = Callable[..., Path]


def share(hits: int, n: int, method: Literal["exact", "wilson"] = "exact") -> Estimate:
    found = binomtest(hits, n).proportion_ci(method=method)
    return Estimate(value=hits / n, low=found.low, high=found.high)


def test_with_wilsons_intervals_it_is_newcombes_method_ten() -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, table II, contrast (a): 56/70 less 48/80
    found = difference(share(48, 80, "wilson"), share(56, 70, "wilson"))
    assert found is not None
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


def test_an_interval_without_zero_and_a_small_p_are_the_same_decision() -> None:
    for hits in range(0, 301, 5):
        found = difference(share(100, 300), share(hits, 300))
        assert found is not None
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_equal_audits_are_called_changed_in_at_most_five_percent() -> None:
    drawn = numpy.random.default_rng(5).binomial(300, 0.4, size=(2000, 2))
    wrong = sum(
        found is not None and found.p < 0.05
        for found in (difference(share(int(a), 300), share(int(b), 300)) for a, b in drawn)
    )
    assert wrong <= 0.05 * 2000


def test_a_large_change_is_found() -> None:
    found = difference(share(120, 300), share(180, 300))
    assert found is not None
    assert found.p < 0.001


def test_what_has_no_interval_is_not_judged() -> None:
    assert difference(Estimate(value=0.5), share(120, 300)) is None


def test_holms_correction_is_the_textbooks() -> None:
    # Holm 1979: the smallest is multiplied by their number, the next by one less, and none falls below one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.fixture
def changed(out: Path, build: Build, tmp_path: Path) -> Path:
    """The realistic audit after a defence: `sign` falls on one run, and bytes grow."""
    rows = [
        one | scored(0.45, 0.412, "inconclusive", "accuracy", ["difference"])
        if (one["attack"], one["label"]) == ("sign", "pae (difference=probability)")
        else one
        for one in ROWS
    ]
    runs = [one | {"uplink_bytes_per_sample": 9000.0} if one["protocol"] == "pae" else one for one in RUNS]
    return build(tmp_path / "changed", rows=rows, runs=runs, head=AUDIT | {"created": "2026-11-22T03:00:00Z"})


def of(first: Path, second: Path) -> Comparison:
    return compare(read_audit(first), read_audit(second), ("first", "second"))


def test_an_audit_compared_with_itself_changed_in_nothing(out: Path) -> None:
    found = of(out, out)
    assert (found.significant, found.turned, found.moved, found.only, found.set_up) == ((), (), (), ((), ()), ())
    assert sentences(found, (1, 1))[0].endswith("none changed by more than chance makes.")


def test_what_changed_is_named_with_its_difference(out: Path, changed: Path) -> None:
    (one,) = of(out, changed).significant
    assert (one.label, one.what) == ("pae (difference=probability)", "labels, sign, accuracy")
    assert one.difference is not None
    assert one.difference.value == pytest.approx(0.45 - 0.997)
    assert one.verdicts == ("leaks", "inconclusive")
    assert "1 fell" in sentences(of(out, changed), (1, 1))[0]


def test_bytes_are_exact_so_that_any_change_is_told(out: Path, changed: Path) -> None:
    assert {(one.label, one.second) for one in of(out, changed).moved} == {
        ("pae (difference=probability)", 9000.0), ("pae (difference=logit)", 9000.0),
    }  # fmt: skip


def test_figures_that_one_audit_lacks_are_told_not_judged(out: Path, build: Build, tmp_path: Path) -> None:
    more = row("new-0", "new", "sign", "labels", **scored(0.9, 0.4, "leaks", "accuracy", []))
    other = build(tmp_path / "more", runs=[*RUNS, run("new-0", "new", [])], rows=[*ROWS, more])
    assert "new: labels, sign, accuracy" in of(out, other).only[1]
    assert of(out, other).significant == ()


def test_other_data_and_few_victims_are_warned_of(out: Path, build: Build, tmp_path: Path) -> None:
    head: dict[str, Any] = AUDIT | {"data": {**AUDIT["data"], "digest": "other"}}  # type: ignore[dict-item]
    said = " ".join(sentences(of(out, build(tmp_path / "other", head=head)), (1, 1)))
    assert "no change is the system's alone" in said
    assert "fewer than 5 victims" in said


@pytest.mark.parametrize("name", ["html", "md", "csv", "json"])
def test_a_format_is_written_beside_the_second_audit(out: Path, changed: Path, name: str) -> None:
    result = CliRunner().invoke(APP, [str(out), str(changed), "--format", name])
    assert result.exit_code == 0
    assert result.stdout == f"{changed / f'comparison.{name}'}\n"
    assert [path.name for path in changed.glob("comparison*")] == [f"comparison.{name}"]
    assert not list(out.glob("comparison*"))


def test_without_a_format_it_prints_what_changed(out: Path, changed: Path) -> None:
    shown = CliRunner().invoke(APP, [str(out), str(changed)]).stdout
    assert "labels, sign" in shown
    assert "9,000" in shown
    assert shown.splitlines()[-1] == str(changed / "comparison.html")


def test_the_page_stands_alone(out: Path, changed: Path) -> None:
    page = compare_and_write(out, changed, "html").read_text(encoding="utf-8")
    assert Page(page).open == []
    assert not [sign for sign in ("http:", "https:", "url(", "<script", "@import") if sign in page]


def test_numbers_in_json_are_those_of_the_audits(out: Path, changed: Path) -> None:
    whole = json.loads(compare_and_write(out, changed, "json").read_text(encoding="utf-8"))
    (one,) = [change for change in whole["changes"] if change["significant"]]
    assert (one["first"], one["second"]) == (0.997, 0.45)


def test_a_redacted_comparison_holds_nothing_private(out: Path, changed: Path, private: tuple[str, ...]) -> None:
    for name in ("html", "md", "csv", "json"):
        text = compare_and_write(out, changed, name, redact=True).read_text(encoding="utf-8")
        assert [secret for secret in private if secret in text] == []


def test_a_format_for_reports_alone_is_refused(out: Path, changed: Path) -> None:
    with pytest.raises(UsageError, match="html, md, csv, json"):
        compare_and_write(out, changed, "latex")
