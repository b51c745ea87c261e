"""A group of runs is summed up by its own rows: what controls and points show stands elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidelight.reports.findings.answer import answer
from sidelight.reports.findings.claims import claim_tables
from sidelight.reports.findings.matrix import matrix
from sidelight.reports.findings.summarise import beside, summarise
from sidelight.reports.findings.summary import Summary
from sidelight.reports.findings.verdicts import verdicts
from sidelight.reports.formats.html import html
from sidelight.reports.formats.markdown import markdown
from sidelight.reports.formats.table import print_table
from sidelight.reports.stored.results import read_audit
from sidelight.reports.stored.rows import Row
from sidelight.reports.written import FORMATS

from .conftest import AUDIT
from .every_case import DEFENDED, MOBILLM, REASSIGNED, UNDEFENDED, WEAKEST, every_case
from .folder import group, row, run, scored, unscored, write_audit

Build = Callable[..., Path]
OfVictims = Callable[[int], Path]


def of(out: Path, label: str) -> Summary:
    (found,) = [summary for summary in summarise(read_audit(out)) if summary.name == label]
    return found


def one(tmp_path: Path, build: Build, *rows: dict[str, Any]) -> Summary:
    (summary,) = summarise(read_audit(build(tmp_path / "one", runs=[run("x-0", "x", [])], rows=rows, examples={})))
    return summary


def labels(attack: str, value: float, verdict: str, **more: Any) -> dict[str, Any]:
    return row("x-0", "x", attack, "labels", **scored(value, 0.4, verdict, "accuracy", [])) | more


def shown(found: Row | None) -> tuple[str, str | None]:
    assert found is not None
    return found.attack, found.metric


def test_groups_of_controls_and_points_have_no_summary(full: Path) -> None:
    assert [summary.name for summary in summarise(read_audit(full))] == ["local", MOBILLM, UNDEFENDED, DEFENDED]


def test_a_control_that_leaks_refutes_nothing_and_is_not_in_the_answer(full: Path) -> None:
    audit = read_audit(full)
    summaries = summarise(audit)
    (table,) = claim_tables(summaries)
    assert table.runs == (UNDEFENDED, DEFENDED)
    assert {c.judgement for c in table.claims if c.run == DEFENDED and c.claim == "labels"} == {"not refuted"}
    assert not [
        name for name in (WEAKEST, REASSIGNED, "defence.sigma=64") if name in " ".join(answer(audit, summaries))
    ]


def test_a_group_that_is_a_row_and_a_control_shows_its_rows_once(tmp_path: Path, build: Build) -> None:
    line = labels("sign", 0.9, "leaks")
    summary = one(tmp_path, build, line, line | {"role": "control"}, line | {"role": "point"})
    assert [row.role for row in summary.scored] == ["row"]


def test_five_victims_or_more_stand_as_one_row_with_their_parts(victims: OfVictims) -> None:
    summary = of(victims(6), UNDEFENDED)
    (sign,) = [row for row in summary.scored if (row.attack, row.metric) == ("sign", "accuracy")]
    assert (sign.scope, sign.seed, summary.named(sign)) == ("over 6 victims", None, "sign")
    assert [part.seed for part in summary.victims(sign)] == [0, 1, 2, 3, 4, 5]
    assert {part.metric for part in summary.victims(sign)} == {"accuracy"}


def test_fewer_victims_stand_apart_with_their_numbers(victims: OfVictims) -> None:
    summary = of(victims(3), UNDEFENDED)
    names = [summary.named(row) for row in summary.scored if (row.attack, row.metric) == ("sign", "accuracy")]
    assert names == ["sign, victim 0", "sign, victim 1", "sign, victim 2"]


def test_one_victim_needs_no_number(victims: OfVictims) -> None:
    summary = of(victims(1), UNDEFENDED)
    assert "sign" in [summary.named(row) for row in summary.scored]


def test_a_victim_that_failed_under_a_row_over_the_others_is_listed(victims: OfVictims) -> None:
    summary = of(victims(6), MOBILLM)
    assert [summary.named(row) for row in summary.failed] == ["match, victim 5"]


@pytest.fixture
def outlier(tmp_path: Path, build: Build) -> Path:
    """Five victims of one protocol: over all of them an attack stays at guessing, on one alone it seems to leak."""
    runs = [run(f"x-{at}", "x", [], victim=at, shows=["difference"]) for at in range(5)]
    whole = labels("sign", 0.42, "resists", cell="whole", run=None, seed=None, victims=[0, 1, 2, 3, 4])
    whole |= {"group": "g", "scope": "over 5 victims", "consumes": ["difference"]}
    parts = [
        labels("sign", 0.93 if at == 3 else 0.3 + at / 100, "leaks", cell=f"x-{at}--sign", role="victim")
        | {"group": "g", "run": f"x-{at}", "seed": at, "victims": [at], "part_of": "whole"}
        for at in range(5)
    ]
    head = AUDIT | {"victims": 5}
    return build(tmp_path / "five", head=head, runs=runs, groups=[group(runs, group="g")], rows=[whole, *parts])


def test_the_first_screen_speaks_of_all_victims_and_of_none_alone(outlier: Path) -> None:
    summaries = summarise(read_audit(outlier))
    (one,) = verdicts(summaries)
    answers = {answer.goal: (answer.kept, answer.said) for answer in one.answers}
    assert answers["labels"] == ("resists", "The attacks here stayed at guessing; others may not.")
    found = matrix(summaries)
    assert [[(square.state, square.value) for square in line.squares] for line in found.lines] == [[("resists", 0.42)]]
    page = html(read_audit(outlier))
    assert "0.93" not in page[: page.index('id="overview"')]


def test_each_victim_s_own_figure_stands_under_the_row_over_all(outlier: Path) -> None:
    audit = read_audit(outlier)
    assert len(re.findall(r"<li>victim 3: 0\.930 \[0\.910,.0\.950\]", html(audit))) == 1
    (line,) = [line for line in markdown(audit).splitlines() if "0.930" in line]
    assert re.match(r"\| sign \| accuracy \| 3 \| 0\.930 ", line)


def test_the_terminal_has_one_line_for_all_victims(outlier: Path) -> None:
    text = io.StringIO()
    print_table(outlier, Console(file=text, width=100))
    lines = [line.split() for line in text.getvalue().splitlines() if line.startswith("sign")]
    assert [(line[2], line[-1]) for line in lines] == [("0.420", "resists")]
    assert "0.93" not in text.getvalue()


def test_victims_that_stand_apart_are_told_apart_on_the_first_screen(victims: OfVictims) -> None:
    found = {one.protocol: one for one in verdicts(summarise(read_audit(victims(3))))}
    assert ", of victim 0 alone" in found["mobillm"].answers[0].said
    assert found["mobillm"].settings == 1


def test_an_attack_that_failed_on_every_victim_is_listed_once(tmp_path: Path, build: Build) -> None:
    whole = row("x-0", "x", "sign", "labels", **unscored("failed", "fewer than 5 victims have a score"))
    part = whole | {"cell": "part", "role": "victim", "part_of": whole["cell"], "reason": "ran past 60 s"}
    summary = one(tmp_path, build, whole, part)
    assert [row.reason for row in summary.failed] == ["fewer than 5 victims have a score"]
    assert [row.reason for row in summary.victims(summary.failed[0])] == ["ran past 60 s"]


def test_a_victim_s_row_without_its_row_over_victims_is_not_lost(tmp_path: Path, build: Build) -> None:
    summary = one(tmp_path, build, labels("sign", 0.9, "leaks", role="victim", part_of="absent"))
    assert [row.attack for row in summary.scored] == ["sign"]


def test_the_best_of_several_heads_its_goal(full: Path) -> None:
    first, second, *_ = of(full, UNDEFENDED).scored
    assert (first.is_best, second.is_best) == (True, True)


def test_the_best_of_several_is_known_by_its_name_whatever_its_role(tmp_path: Path, build: Build) -> None:
    best = labels("best", 0.8, "leaks", among=["sign", "norm"], chosen=["sign"])
    summary = one(tmp_path, build, labels("sign", 0.9, "leaks"), best)
    assert shown(summary.strongest("labels"))[0] == "best"
    assert summary.named(summary.scored[0]) == "best of 2"


def test_a_run_that_could_not_be_recorded_is_a_failed_row(tmp_path: Path, build: Build) -> None:
    kept = ("schema", "cell", "run", "group", "role", "protocol", "label", "seed", "victims")
    about = {name: value for name, value in labels("recording", 0.0, "resists").items() if name in kept}
    summary = one(tmp_path, build, about | {"attack": "recording", "status": "failed", "reason": "no memory"})
    assert [(row.attack, row.reason) for row in summary.failed] == [("recording", "no memory")]


@pytest.mark.parametrize(
    ("verdict", "of_best", "expected"),
    [("leaks", "leaks", "best"), ("leaks", "inconclusive", "sign"), ("inconclusive", "leaks", "best"),
     ("resists", "resists", "best"), ("inconclusive", "resists", "sign")],
)  # fmt: skip
def test_a_leak_decides_and_among_equals_the_best_of_several(
    verdict: str, of_best: str, expected: str, tmp_path: Path, build: Build
) -> None:
    best = labels("best", 0.6, of_best, among=["sign", "norm"], chosen=["sign"])
    strongest = one(tmp_path, build, labels("sign", 0.7, verdict), best).strongest("labels")
    assert shown(strongest)[0] == expected


def test_a_leak_on_rows_labelled_by_coin_decides_the_goal(tmp_path: Path, build: Build) -> None:
    by_coin = labels("sign", 0.3, "leaks", metric="random_row_accuracy", primary=False)
    summary = one(tmp_path, build, labels("sign", 0.42, "inconclusive"), by_coin)
    assert shown(summary.strongest("labels")) == ("sign", "random_row_accuracy")
    assert shown(summary.other_game("labels")) == ("sign", "accuracy")


def test_a_figure_is_picked_only_where_no_best_of_several_stands(tmp_path: Path, build: Build) -> None:
    several = [labels("sign", 0.9, "leaks"), labels("norm", 0.8, "leaks")]
    assert one(tmp_path / "without", build, *several).picked("labels")
    best = labels("best", 0.9, "leaks", among=["sign", "norm"], chosen=["sign"])
    assert not one(tmp_path / "with", build, *several, best).picked("labels")
    assert not one(tmp_path / "alone", build, several[0]).picked("labels")


def test_what_does_not_apply_is_said_once_for_all_victims(victims: OfVictims) -> None:
    assert [row.attack for row in of(victims(3), DEFENDED).not_applicable] == ["match"]


def test_a_failed_control_is_kept_and_a_failed_point_is_its_curve_s(full: Path) -> None:
    lost = beside(read_audit(full))
    assert {(row.role, row.label, row.attack, row.reason) for row in lost} == {
        ("control", WEAKEST, "norm", "ran past 300 s")
    }


def test_a_failed_point_without_a_curve_is_kept(tmp_path: Path, build: Build) -> None:
    point = row("x-0", "x", "sign", "labels", **unscored("failed", "no"), role="point")
    point["sweep"] = {"curve": "absent", "setting": "s", "value": 1, "at": 0}
    audit = read_audit(build(tmp_path / "out", runs=[run("x-0", "x", [])], rows=[point], examples={}))
    assert [row.role for row in beside(audit)] == ["point"]
    assert "Beside the tables 1 point failed." in answer(audit, summarise(audit))


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "All figures are conditional on one victim: one draw of the data and one fine-tuning run."),
        (3, "they stand apart, since an interval over victims takes at least 5 (`--seeds 5`)."),
        (6, "each one draw of the data and one fine-tuning run; intervals are over victims."),
    ],
)
def test_the_answer_says_how_far_the_figures_reach(number: int, said: str, victims: OfVictims) -> None:
    audit = read_audit(victims(number))
    assert answer(audit, summarise(audit))[-1].endswith(said)


def test_traffic_and_bytes_are_of_all_victims(victims: OfVictims) -> None:
    one_, six = of(victims(1), MOBILLM), of(victims(6), MOBILLM)
    assert (six.samples, six.uplink) == (6000, one_.uplink)


@pytest.mark.parametrize("name", ["html", "md"])
def test_an_audit_of_curves_alone_has_no_empty_overview(name: str, tmp_path: Path) -> None:
    parts = every_case(1)
    parts["groups"] = [one | {"role": "point"} for one in parts["groups"]]
    audit = read_audit(write_audit(tmp_path / "curves", **parts))
    assert answer(audit, summarise(audit))[0].endswith("what each attack found stands in its curve.")
    page = FORMATS[name](audit)
    assert "Curves" in page
    assert "Overview" not in page


def test_what_leaks_along_curves_alone_is_in_the_answer(victims: Callable[[int], Path]) -> None:
    audit = read_audit(victims(6))
    points = [((c.label, c.setting, repr(p.x)), p.verdict) for c in audit.curves for p in c.points]
    leaking = {point for point, verdict in points if verdict == "leaks"}
    assert leaking
    assert f"Of the {len({at for at, _ in points})} points of the curves, {len(leaking)} leak." in answer(
        audit, summarise(audit)
    )
    calm = tuple(c.model_copy(update={"points": ()}) for c in audit.curves)
    assert not any("of the curves" in said for said in answer(replace(audit, curves=calm), summarise(audit)))
