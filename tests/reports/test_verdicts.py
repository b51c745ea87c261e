"""The first screen answers for each protocol and goal whether it is kept, and says what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidelight.reports.findings.next_steps import next_steps
from sidelight.reports.findings.summarise import summarise
from sidelight.reports.findings.verdicts import Answer, Answers, verdicts
from sidelight.reports.formats.html import html
from sidelight.reports.stored.results import read_audit

from .conftest import AUDIT
from .folder import row, run, scored, unscored

Build = Callable[..., Path]
CLAIMS = {"v1": ["data", "labels", "models"], "v2": ["data", "labels"]}


def answers_of(out: Path) -> dict[str, Answers]:
    return {one.protocol: one for one in verdicts(summarise(read_audit(out)))}


def answer_of(out: Path, protocol: str, goal: str) -> Answer:
    return next(one for one in answers_of(out)[protocol].answers if one.goal == goal)


def steps_of(out: Path) -> list[str]:
    audit = read_audit(out)
    summaries = summarise(audit)
    return [f"{step.said} {step.command}".strip() for step in next_steps(audit, summaries, verdicts(summaries))]


def labels(name: str, verdict: str, value: float = 0.5, **more: Any) -> dict[str, Any]:
    return row(f"{name}-0", name, "sign", "labels", **scored(value, 0.4, verdict, "accuracy", ["difference"])) | more


@pytest.fixture
def one(tmp_path: Path, build: Build) -> Callable[..., Path]:
    """An audit of one protocol, `pae`, in settings of some verdicts each."""

    def built(*verdict: str, **more: Any) -> Path:
        names = [f"pae (sigma={at})" for at, _ in enumerate(verdict)]
        runs = [run(f"{name}-0", name, [], protocol="pae", claims=CLAIMS, shows=["difference"]) for name in names]
        rows = [labels(name, one, **more) for name, one in zip(names, verdict, strict=True)]
        return build(tmp_path / "one", runs=runs, rows=rows, examples={})

    return built


@pytest.mark.parametrize(
    ("verdict", "short"),
    [("leaks", "No"), ("inconclusive", "Undecided"), ("resists", "Not broken here")],
)
def test_a_verdict_is_an_answer_in_plain_words(one: Callable[..., Path], verdict: str, short: str) -> None:
    assert answer_of(one(verdict), "pae", "labels").short == short


def test_no_number_of_failed_attacks_is_an_answer_that_it_is_safe(one: Callable[..., Path]) -> None:
    found = answer_of(one("resists", "resists"), "pae", "labels")
    assert "others may not" in found.said
    page = html(read_audit(one("resists")))
    assert "safe" not in page[page.index("<body>") :].lower()


def test_one_setting_that_leaks_decides_and_is_named(one: Callable[..., Path]) -> None:
    found = answer_of(one("resists", "leaks", "inconclusive"), "pae", "labels")
    assert found.kept == "leaks"
    assert found.said.endswith(", in 1 of 3 settings (pae (sigma=1)).")


def test_the_sentence_holds_value_interval_and_blind_guess(out: Path) -> None:
    found = answer_of(out, "pae", "labels")
    assert found.said.startswith("99.7 % [97.7, 100] of the labels are read; 41.2 % by guessing")


def test_claims_are_told_version_by_version(out: Path) -> None:
    assert answer_of(out, "pae", "labels").claims == {"refuted": ("v1", "v2")}
    assert answer_of(out, "pae", "texts").claims == {"not audited": ("v1", "v2")}
    assert answer_of(out, "pae", "model").claims == {"not refuted": ("v1",)}
    assert answer_of(out, "mobillm", "labels").claims == {}


def test_what_nobody_attacked_is_not_answered(out: Path) -> None:
    assert answer_of(out, "mobillm", "model").short == "Not attacked"
    assert answer_of(out, "pae", "texts").said == "What the attacks here read never crosses."


def test_a_failed_attack_answers_nothing_and_says_so(tmp_path: Path, build: Build) -> None:
    folder = build(
        tmp_path / "failed",
        runs=[run("pae-0", "pae", [], shows=["difference"])],
        rows=[row("pae-0", "pae", "sign", "labels", **unscored("failed", "ran past 60 s"))],
        examples={},
    )
    assert answer_of(folder, "pae", "labels").said == "sign failed, so nothing follows."


def test_beside_a_failed_attack_nothing_is_called_not_broken(
    one: Callable[..., Path], tmp_path: Path, build: Build
) -> None:
    failed = row("pae-0", "pae", "addback", "labels", **unscored("failed", "ran past 60 s"))
    runs = [run("pae-0", "pae", [], shows=["difference"])]
    folder = build(tmp_path / "beside", runs=runs, rows=[labels("pae", "resists"), failed], examples={})
    found = answer_of(folder, "pae", "labels")
    assert found.short == "Undecided"
    assert found.said.endswith("addback failed, so nothing follows of it.")


def test_a_model_that_learned_nothing_is_no_merit(tmp_path: Path, build: Build) -> None:
    low = {"value": 0.9, "reached": False, "from": "x"}
    runs = [run("pae-0", "pae", [], shows=["difference", "held:tuned"], floor=low)]
    found = answer_of(build(tmp_path / "low", runs=runs, rows=[labels("pae", "resists")], examples={}), "pae", "labels")
    assert "The model stayed below its utility floor." in found.said
    assert "No attack looked at held: tuned." in found.said


def test_a_score_without_a_verdict_is_undecided(tmp_path: Path, build: Build) -> None:
    runs = [run("pae-0", "pae", [], shows=["difference"])]
    rows = [labels("pae", "leaks") | {"verdict": None}]
    found = answer_of(build(tmp_path / "none", runs=runs, rows=rows, examples={}), "pae", "labels")
    assert (found.short, found.said) == ("Undecided", "Scored, but without a verdict.")


def test_an_adversary_with_more_than_the_paper_allows_refutes_no_claim(tmp_path: Path, build: Build) -> None:
    threats = {"honest": {}, "more": {"known_labels": 5, "behaviour": "deviating"}}
    runs = [
        run(f"{name}-0", name, [], protocol="pae", claims=CLAIMS, shows=["difference"], threat=threat)
        for name, threat in threats.items()
    ]
    rows = [labels("honest", "resists"), labels("more", "leaks")]
    honest, more = verdicts(summarise(read_audit(build(tmp_path / "threats", runs=runs, rows=rows, examples={}))))
    assert (honest.adversary, honest.answers[0].kept) == ("the server", "resists")
    assert more.adversary == "the server, deviating, knowing 5 labels a class"
    assert more.answers[0].kept == "leaks"
    assert more.answers[0].claims == {}


def test_the_largest_of_several_settings_is_told_as_such(tmp_path: Path, build: Build) -> None:
    runs = [run(f"{name}-0", name, [], protocol="pae", shows=["difference"]) for name in ("a", "b")]
    rows = [labels("a", "leaks", 0.95), labels("b", "leaks", 0.5)]
    folder = build(tmp_path / "two", runs=runs, rows=rows, examples={})
    assert answer_of(folder, "pae", "labels").said.startswith("Up to 95 %")


def test_protocols_with_claims_come_first_and_those_that_send_nothing_last(out: Path) -> None:
    assert list(answers_of(out)) == ["pae", "mobillm", "split", "local"]


def test_adversaries_are_answered_apart(tmp_path: Path, build: Build) -> None:
    names = {"server": "leaks", "eavesdropper": "resists"}
    runs = [run(f"{who}-0", who, [], protocol="pae", shows=["difference"], threat={"adversary": who}) for who in names]
    rows = [labels(who, verdict, adversary=who) for who, verdict in names.items()]
    found = verdicts(summarise(read_audit(build(tmp_path / "two", runs=runs, rows=rows, examples={}))))
    assert {a.adversary: a.answers[0].kept for a in found} == {"the server": "leaks", "the eavesdropper": "resists"}


def test_the_first_screen_stands_before_everything_else(out: Path) -> None:
    page = html(read_audit(out))
    assert page.index("Labels?") < page.index("Protocols by attacks") < page.index("What to do next")
    assert page.index("What to do next") < page.index('id="overview"')


# --- what to do next -------------------------------------------------------------------------------------------------


def test_what_leaks_is_to_be_taken_as_known(out: Path) -> None:
    assert "Treat the labels under pae and split as known to the server." in steps_of(out)
    assert "Treat the labels and texts under mobillm as known to the server." in steps_of(out)


def test_a_goal_without_an_attack_names_the_suite_that_has_one(out: Path) -> None:
    (model,) = [step for step in steps_of(out) if "sidelight audit" in step]
    assert model == "Nothing is known of the tuned model under mobillm and split: audit it. sidelight audit models"


def test_a_goal_that_an_attack_was_asked_for_names_no_suite(out: Path) -> None:
    assert answer_of(out, "pae", "texts").kept == "not audited"  # an attack failed there
    assert [step for step in steps_of(out) if "Nothing is known of the texts" in step] == []


def test_a_recording_made_elsewhere_is_sent_to_no_suite(build: Build, tmp_path: Path) -> None:
    audit = build(tmp_path / "given", head=AUDIT | {"suite": "transcript"})
    said = " ".join(steps_of(audit))
    assert "sidelight audit" not in said
    assert "--seeds" not in said
    assert "name an attack with that goal, and give what it is scored on with the truth" in said
    assert "record the system again" in said


def test_what_failed_and_what_is_below_its_floor_is_told(out: Path) -> None:
    said = " ".join(steps_of(out))
    assert "what failed runs again" in said
    assert "Tune pae (difference=logit) to the utility floor" in said


def test_an_audit_where_nothing_leaks_still_says_what_it_did_not_look_at(one: Callable[..., Path]) -> None:
    assert steps_of(one("resists")) == [
        "Nothing is known of the texts under pae: audit them. sidelight audit texts",
        "Nothing is known of the tuned model under pae: audit it. sidelight audit models",
        "One draw of the data is no rule: 5 victims give intervals over victims. --seeds 5",
    ]


def test_a_defence_under_which_nothing_leaks_is_worth_a_try(tmp_path: Path, build: Build) -> None:
    defended = run("x-0", "x", [], protocol="pae", shows=["difference"], defences={"noise": {"sigma": 4}})
    goals = {"labels": "sign", "texts": "match", "model": "readoff", "members": "gain"}
    rows = [labels("x", "resists", attack=attack, cell=attack, goal=goal) for goal, attack in goals.items()]
    parts = {"head": AUDIT | {"victims": 5}, "runs": [defended], "rows": rows, "examples": {}}
    assert steps_of(build(tmp_path / "well", **parts)) == [
        "Under x nothing that was attacked leaked: try it on your own data before you rely on it."
    ]


def test_what_decides_nothing_wants_more_rows(one: Callable[..., Path]) -> None:
    assert steps_of(one("inconclusive"))[-1] == (
        "Undecided figures want more rows or more victims: 5 victims give intervals over victims. --seeds 5"
    )
