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
from sidelight.reports.stored.records import Estimate, Head
from sidelight.reports.stored.results import read_audit
from sidelight.reports.written import compare_and_write
from sidelight.system.errors import UsageError

from .conftest import AUDIT, ROWS, RUNS
from .folder import row, run, scored
from .test_command import APP
from .test_html import Page

Build = Callable[..., Path]
HEADS = (Head.model_validate(AUDIT), Head.model_validate(AUDIT))


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
    assert sentences(found, HEADS)[0].endswith("none changed by more than chance makes.")


def test_what_changed_is_named_with_its_difference(out: Path, changed: Path) -> None:
    (one,) = of(out, changed).significant
    assert (one.label, one.what) == ("pae (difference=probability)", "labels, sign, accuracy")
    assert one.difference is not None
    assert one.tested == "advantage"
    assert one.difference.value == pytest.approx((0.45 - 0.997) / (1 - 0.412))
    assert one.verdicts == ("leaks", "inconclusive")
    assert "1 leaks less in the second" in sentences(of(out, changed), HEADS)[0]


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
    said = " ".join(sentences(of(out, build(tmp_path / "other", head=head)), HEADS))
    assert "no change is the system's alone" in said
    assert "fewer than 5 victims" in said


def again(out: Path, build: Build, tmp_path: Path, **more: Any) -> Comparison:
    """The realistic audit, and the same with `more` written over its row of `sign` on one run."""
    rows = [
        one | more if (one["attack"], one["label"]) == ("sign", "pae (difference=probability)") else one for one in ROWS
    ]
    return of(out, build(tmp_path / "again", rows=rows))


def test_a_stronger_twin_is_a_change_where_the_value_is_the_same(out: Path, build: Build, tmp_path: Path) -> None:
    found = again(out, build, tmp_path, advantage=0.1, advantage_low=-0.02, advantage_high=0.2, verdict="inconclusive")
    (one,) = found.significant
    assert one.first.value.value == one.second.value.value
    assert (one.tested, one.more, one.turned) == ("advantage", False, True)
    assert found.turned == ()


def test_a_verdict_that_turns_within_chance_is_told_apart(out: Path, build: Build, tmp_path: Path) -> None:
    found = again(out, build, tmp_path, verdict="inconclusive")
    assert found.significant == ()
    assert [one.label for one in found.turned] == ["pae (difference=probability)"]
    assert "The verdict alone is another for labels, sign, accuracy under pae" in " ".join(sentences(found, HEADS))


def test_of_a_metric_whose_low_values_tell_a_fall_is_a_greater_leak(build: Build, tmp_path: Path) -> None:
    bare = {"advantage": None, "advantage_low": None, "advantage_high": None, "direction": "lower"}
    rows = [
        [one | bare | fallen if one["attack"] == "sign" else one for one in ROWS]
        for fallen in ({"value": 0.9, "low": 0.88, "high": 0.92}, {"value": 0.5, "low": 0.48, "high": 0.52})
    ]
    first, second = (build(tmp_path / str(at), rows=one) for at, one in enumerate(rows))
    found = of(first, second)
    one, *_ = found.significant
    assert one.difference is not None
    assert (one.tested, one.difference.value < 0, one.more) == ("value", True, True)
    assert " leak more in the second" in sentences(found, HEADS)[0]


def test_a_utility_is_better_or_worse_and_never_a_leak(out: Path, build: Build, tmp_path: Path) -> None:
    runs = [one | {"utility": {**one["utility"], "value": 0.4, "low": 0.36, "high": 0.44}} for one in RUNS]
    leaks, worth, *_ = sentences(of(out, build(tmp_path / "worse", runs=runs)), HEADS)
    assert leaks.endswith("none changed by more than chance makes.")
    assert (
        worth
        == "Of 5 utilities that both audits have, 5 are worse in the second, by more than chance makes (Holm, 5 %)."
    )


def test_an_advantage_near_the_end_of_its_scale_is_no_surer_than_its_value(build: Build, tmp_path: Path) -> None:
    ends = ({"value": 0.999, "low": 0.926, "high": 1.0}, {"value": 0.978, "low": 0.957, "high": 0.989})
    sure = [{"advantage": 0.999, "advantage_low": 0.996, "advantage_high": 1.0},
            {"advantage": 0.976, "advantage_low": 0.956, "advantage_high": 0.989}]  # fmt: skip
    first, second = (
        build(tmp_path / str(at), rows=[one | ends[at] | sure[at] if one["attack"] == "match" else one for one in ROWS])
        for at in (0, 1)
    )
    assert of(first, second).significant == ()


def test_what_has_no_interval_is_counted_apart(out: Path, build: Build, tmp_path: Path) -> None:
    found = again(out, build, tmp_path, advantage_low=None, advantage_high=None)
    assert len(found.untested) == 1
    assert "Not tested for want of an interval: 1 figure." in sentences(found, HEADS)


def test_the_best_of_other_attacks_is_compared_and_said_to_be(out: Path, build: Build, tmp_path: Path) -> None:
    best = [
        row("pae-probability-0", "pae (difference=probability)", "best", "labels", among=among,
            **scored(0.9, 0.4, "leaks", "accuracy", ["difference"]))
        for among in (["sign", "addback"], ["sign", "addback", "cluster"])
    ]  # fmt: skip
    first, second = (build(tmp_path / str(at), rows=[*ROWS, one]) for at, one in enumerate(best))
    found = of(first, second)
    assert "labels, best of the attacks, accuracy" in [one.what for one in found.changes]
    assert ("what the best attack on labels is chosen from of pae (difference=probability)", "addback, sign",
            "addback, cluster, sign") in found.set_up  # fmt: skip


def test_a_victim_is_compared_with_the_same_one_of_more(victims: Callable[[int], Path]) -> None:
    found = of(victims(1), victims(3))
    assert found.changes != ()
    assert all("victim" not in one.first.what for one in found.changes)
    assert {figure.rpartition(", ")[2] for figure in found.only[1]} == {"victim 1", "victim 2"}


def test_figures_over_victims_are_not_held_against_one_victims_own(victims: Callable[[int], Path]) -> None:
    found = of(victims(1), victims(6))
    heads = tuple(read_audit(victims(number)).head for number in (1, 6))
    assert [one for one in found.changes if one.first.value == one.second.value] == []
    assert "they are not the same figures" in " ".join(sentences(found, (heads[0], heads[1])))


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
