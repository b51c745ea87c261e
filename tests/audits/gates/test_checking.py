"""A budget against rows: the upper end counts, each adversary for itself, and what was not measured is never within."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sidelight.audits.cells.cell import Scored
from sidelight.audits.gates.check import Check
from sidelight.audits.gates.wording import notes, told
from sidelight.audits.suites.arrange import Role
from sidelight.system import files

from ..synthetic import Made, rows
from .held import SEEN, Row, group, held, outcomes

NOT_EXPOSED = Scored("not_exposed", "the adversary never receives difference")
NOT_APPLICABLE = Scored("not_applicable", "positions is mean; the attack takes all")
FAILED = Scored("failed", "ValueError: could not read 'secret word' in /home/alice/rows.jsonl")
LABELS = 'goal = "labels"\nmax_value = 0.5\n'


def seen(row: Row) -> Row:
    """The row with what its attack takes, so that kinds count as looked at."""
    return {**row, "consumes": SEEN.get(row["attack"], [])}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "audit")


# --- the number ------------------------------------------------------------------------------------------------------


def test_the_upper_end_of_the_interval_counts_and_not_the_value(made: Made) -> None:
    """60 of 200: Clopper and Pearson's interval at 95 % is [0.2374, 0.3686]."""
    made.entry(group(made, "pae"), "sign", rows(0.3))
    for limit, outcome in ((0.36, "exceeded"), (0.37, "within")):
        [check] = held(made, f'goal = "labels"\nmax_value = {limit}').checks
        assert check.outcome == outcome
        assert (check.value, check.low, check.high) == pytest.approx((0.3, 0.2374, 0.3686), abs=1e-4)


def test_an_upper_end_at_the_limit_is_within_and_a_hair_above_is_not(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.3))
    assert outcomes(held(made, LABELS, lambda row: {**row, "high": 0.5})) == ["within"]
    assert outcomes(held(made, LABELS, lambda row: {**row, "high": 0.5000001})) == ["exceeded"]


def test_an_advantage_is_bounded_by_its_own_upper_end(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.3, blind=0.3))
    change = {"advantage": 0.01, "advantage_low": -0.1, "advantage_high": 0.06, "high": 0.9, "direction": "lower"}
    for limit, outcome in ((0.05, "exceeded"), (0.06, "within")):
        found = held(made, f'goal = "labels"\nmax_advantage = {limit}', lambda row: {**row, **change})
        assert outcomes(found) == [outcome]
        assert (found.checks[0].value, found.checks[0].high) == (0.01, 0.06)


@pytest.mark.parametrize("change", [{"high": None}, {"low": None}, {"direction": "lower"}])
def test_a_row_without_an_interval_or_of_the_other_direction_breaks(made: Made, change: Row) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    found = held(made, LABELS, lambda row: {**row, **change})
    assert (outcomes(found), found.kept) == (["no interval"], False)


def test_without_a_metric_those_that_carry_a_verdict_count(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    made.entry("pae", "addback", rows(0.9))

    def other(row: Row) -> Row:
        return {**row, "metric": "partition_accuracy", "primary": False, "judged": False}

    found = held(made, LABELS, lambda row: other(row) if row["attack"] == "addback" else row)
    assert outcomes(found) == ["within"]
    named = 'metric = "partition_accuracy"\nmax_value = 0.5'
    found = held(made, named, lambda row: other(row) if row["attack"] == "addback" else row)
    assert [(check.subject.attack, check.outcome) for check in found.checks] == [("addback", "exceeded")]


def test_a_metric_that_nothing_was_scored_by_was_not_measured(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    found = held(made, 'metric = "random_row_accuracy"\nmax_value = 0.5')
    assert outcomes(found) == ["not measured"]
    assert found.checks[0].reason == "no attack has a score in random_row_accuracy"


# --- whose row -------------------------------------------------------------------------------------------------------


def test_each_adversary_is_held_for_itself(made: Made) -> None:
    """Pooled, 20 and 180 of 200 rows would be a half; apart, one of them is far above the limit."""
    made.entry(group(made, "pae"), "sign", rows(0.1))
    made.entry(group(made, "pae (threat.known_labels=5)", threat={"known_labels": 5}), "sign", rows(0.1))
    made.entry(group(made, "pae (federation)", threat={"adversary": "federation"}), "sign", rows(0.9))
    found = held(made, 'goal = "labels"\nmax_value = 0.6')
    assert [(c.subject.adversary, c.subject.known_labels, c.outcome) for c in found.checks] == [
        ("server", 0, "within"), ("server", 5, "within"), ("federation", 0, "exceeded"),
    ]  # fmt: skip
    for selector, adversaries in (
        ('adversary = "server"', ["server", "server"]),
        ("threat = { known_labels = 5 }", ["server"]),
        ('adversary = "federation"\nthreat = { known_labels = 0 }', ["federation"]),
    ):
        narrowed = held(made, f"{selector}\nmax_value = 0.6")
        assert [check.subject.adversary for check in narrowed.checks] == adversaries


def test_controls_are_not_held_and_points_only_where_they_are_asked_for(made: Made) -> None:
    roles: tuple[Role, ...] = ("row", "control", "point")
    for role in roles:
        made.entry(group(made, role, role=role), "sign", rows(0.9))
    assert [check.subject.label for check in held(made, LABELS).checks] == ["row"]
    assert [check.subject.label for check in held(made, LABELS + "points = true").checks] == ["row", "point"]


@pytest.mark.parametrize(("victims", "named"), [(1, [None]), (3, [0, 1, 2]), (5, [None])])
def test_few_victims_are_held_each_and_many_as_one(made: Made, victims: int, named: list[int | None]) -> None:
    shares = [rows(0.1 + victim / 100, seed=victim) for victim in range(victims)]
    made.entry(group(made, "pae", victims=victims), "sign", *shares)
    found = held(made, LABELS)
    assert [check.subject.victim for check in found.checks] == named
    assert found.kept


def test_one_victim_of_few_breaks_the_budget_alone(made: Made) -> None:
    made.entry(group(made, "pae", victims=3), "sign", rows(0.1), rows(0.9), rows(0.1))
    assert outcomes(held(made, LABELS)) == ["within", "exceeded", "within"]


# --- what has no number ----------------------------------------------------------------------------------------------


def test_what_failed_breaks_the_budget_and_its_error_is_not_repeated(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", FAILED)
    made.entry("pae", "addback", rows(0.1))
    found = held(made, LABELS)
    assert outcomes(found) == ["within", "failed"]
    assert not found.kept
    assert not any(word in " ".join(told(found)) for word in ("secret", "alice"))


def test_an_attack_that_the_limit_does_not_take_in_may_fail(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", FAILED)
    made.entry("pae", "addback", rows(0.1))
    assert held(made, 'attack = "addback"\nmax_value = 0.5').kept


def test_what_never_crosses_passes_and_is_said_to(made: Made) -> None:
    made.entry(group(made, "local", shows=()), "sign", NOT_EXPOSED)
    found = held(made, LABELS)
    assert (outcomes(found), found.kept) == (["not exposed"], True)
    assert list(told(found)) == [
        "note: limit 1: not exposed: sign on labels in local",
        "sidelight: within budget: 1 limit, 1 check",
    ]


def test_what_no_attack_looked_at_is_no_pass_though_every_attack_is_not_exposed(made: Made) -> None:
    made.entry(group(made, "mobillm", shows=("activations", "labels")), "sign", NOT_EXPOSED)
    found = held(made, LABELS)
    assert outcomes(found) == ["not exposed", "not measured"]
    assert found.broken[0].reason == "activations, labels reached the adversary, and no attack with this goal takes it"
    assert held(made, 'attack = "sign"\nmax_value = 0.5').kept, "one attack was asked for by name"


def test_an_attack_that_does_not_apply_is_named_and_alone_it_measures_nothing(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", NOT_APPLICABLE)
    assert outcomes(held(made, LABELS)) == ["not applicable", "not measured"]
    made.entry("pae", "addback", rows(0.1))
    found = held(made, LABELS)
    assert (outcomes(found), found.kept) == (["within", "not applicable"], True)
    assert "limit 1: not applicable: sign on labels in pae" in list(notes(found))


def test_kinds_that_no_attack_with_the_goal_takes_are_named(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    made.entry("pae", "match", rows(0.1))
    found = held(made, LABELS, seen)
    assert found.kept
    assert [tuple(one) for one in found.unaudited] == [("pae", "labels", ("activations",))]
    made.entry("pae", "addback", rows(0.1))
    assert held(made, LABELS, seen).unaudited == ()


def test_a_goal_must_be_measured_on_every_run_that_the_limit_takes_in(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    made.entry(group(made, "split"), "match", rows(0.1))
    found = held(made, LABELS)
    assert [(c.subject.label, c.outcome) for c in found.checks] == [("pae", "within"), ("split", "not measured")]
    assert held(made, LABELS + 'label = "pae"').kept


@pytest.mark.parametrize(
    ("selectors", "words"),
    [
        ('protocol = "mobillm"', "no run has the protocol 'mobillm'; there are pae"),
        ('label = "peas"', "no run has the label 'peas'; there are pae"),
        ('label = ["pae", "peas"]', "no run has the label 'peas'"),
        ('adversary = "federation"', "no run has adversary 'federation'; there are pae, server"),
        ("threat.known_labels = 7", "there are pae, server, known_labels = 0"),
        ('attack = "norm"', "no attack there has attack 'norm'; there are sign (labels)"),
        ('attack = "best"', "no row of the audit is selected"),
    ],
)
def test_a_limit_that_takes_in_nothing_is_broken_and_says_what_there_is(made: Made, selectors: str, words: str) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    found = held(made, f"{selectors}\nmax_value = 0.5")
    assert not found.kept
    assert words in str(found.broken[-1].reason)


def test_a_suite_of_sweeps_alone_is_not_passed_by(made: Made) -> None:
    made.entry(group(made, "point", role="point"), "sign", rows(0.1))
    assert "give points = true" in str(held(made, LABELS).broken[0].reason)


def test_a_run_that_was_not_recorded_breaks_every_limit_that_takes_it_in(made: Made) -> None:
    entry = made.entry(group(made, "pae", victims=2), "sign", rows(0.1), rows(0.1))
    shutil.rmtree(made.out / "cells" / entry.cells[1][0])
    (made.out / "runs" / "pae-1" / "run.json").unlink()
    assert sorted(outcomes(held(made, LABELS))) == ["failed", "within"]
    for text in ("min_utility = 0.1", "max_epsilon = 9"):
        assert outcomes(held(made, text)) == ["failed"]


def test_a_run_of_which_nothing_is_known_is_not_passed_by_for_its_adversary(made: Made) -> None:
    entry = made.entry(group(made, "pae"), "sign", rows(0.1))
    shutil.rmtree(made.out / "cells" / entry.cells[0][0])
    (made.out / "runs" / "pae-0" / "run.json").unlink()
    made.entry(group(made, "pae again"), "sign", rows(0.1))
    for selector in ('adversary = "server"', "threat.known_labels = 0"):
        assert outcomes(held(made, f"{selector}\nmax_value = 0.5")) == ["failed", "within"]


def test_that_nothing_crosses_must_be_known_of_every_run(made: Made) -> None:
    made.entry(group(made, "local", shows=(), victims=2), "match", NOT_EXPOSED, NOT_EXPOSED)
    assert outcomes(held(made, LABELS)) == ["not exposed"]
    (made.out / "runs" / "local-1" / "run.json").unlink()
    assert outcomes(held(made, LABELS)) == ["not measured"]


# --- runs ------------------------------------------------------------------------------------------------------------


def test_the_lower_end_of_the_utility_counts(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.9))
    use = {"metric": "accuracy", "value": 0.8, "low": 0.7, "high": 0.9, "n": 100}
    path = made.out / "runs" / "pae-0" / "run.json"
    files.write_json(path, {**files.read_json(path), "utility": use})
    for limit, outcome in ((0.7, "within"), (0.71, "missed")):
        [check] = held(made, f"min_utility = {limit}").checks
        assert (check.outcome, check.value, check.low) == (outcome, 0.8, 0.7)


def test_the_utility_of_few_victims_is_held_victim_by_victim(made: Made) -> None:
    made.entry(group(made, "pae", victims=3), "sign", rows(0.9), rows(0.9), rows(0.9))
    path = made.out / "runs" / "pae-1" / "run.json"
    files.write_json(path, {**files.read_json(path), "utility": {"metric": "accuracy", "value": 0.5, "low": 0.4,
                                                                 "high": 0.6, "n": 100}})  # fmt: skip
    assert outcomes(held(made, "min_utility = 0.6")) == ["within", "missed", "within"]


AUDIT = {"epsilon_low": 1.5, "epsilon_most": 8.0, "pairs": 10_000, "mu_low": None, "confidence": 0.9975}


@pytest.mark.parametrize(
    ("budget", "limit", "outcome"),
    [
        ({"epsilon": 2.0, "delta": 0.0}, "max_epsilon = 2.0", "within"),
        ({"epsilon": 2.0, "delta": 0.0}, "max_epsilon = 1.9", "exceeded"),
        ({"epsilon": 2.0, "delta": 1e-4}, "max_epsilon = 3.0", "exceeded"),
        ({"epsilon": 2.0, "delta": 1e-4}, "max_epsilon = 3.0\nmax_delta = 1e-3", "within"),
        ({"epsilon": 2.0, "delta": 0.0, "audit": AUDIT}, "max_epsilon = 2.0", "within"),
        ({"epsilon": 1.0, "delta": 0.0, "audit": AUDIT}, "max_epsilon = 2.0", "exceeded"),
        (None, "max_epsilon = 2.0", "exceeded"),
        ({"epsilon": 2.0, "delta": 0.0}, 'max_epsilon = 2.0\npromise = "example"', "exceeded"),
    ],
)
def test_a_promise_must_be_made_be_small_enough_and_stand_up_to_its_audit(
    made: Made, budget: Row | None, limit: str, outcome: str
) -> None:
    promised = budget and {"audit": None, "unit": "label", "against": "whoever sees what crosses", **budget}
    made.entry(group(made, "pae", budget=promised), "sign", rows(0.9))
    assert outcomes(held(made, limit)) == [outcome]


def test_where_nothing_crosses_no_promise_is_needed_but_for_what_is_released(made: Made) -> None:
    made.entry(group(made, "local", shows=()), "sign", NOT_EXPOSED)
    assert outcomes(held(made, "max_epsilon = 1.0")) == ["not exposed"]
    assert outcomes(held(made, 'max_epsilon = 1.0\npromise = "released"')) == ["exceeded"]


# --- several limits --------------------------------------------------------------------------------------------------


def test_limits_are_counted_apart_and_one_that_breaks_breaks_the_budget(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    made.entry("pae", "match", rows(0.9))
    both = '[[limit]]\ngoal = "labels"\nmax_value = 0.5\n[[limit]]\ngoal = "texts"\nmax_value = 0.5\n'
    found = held(made, both)
    assert (found.counts(1), found.counts(2), found.kept) == ({"within": 1}, {"exceeded": 1}, False)


def test_a_pass_is_never_called_safe(made: Made) -> None:
    made.entry(group(made, "pae"), "sign", rows(0.1))
    said = list(told(held(made, LABELS)))
    assert said[-1] == "sidelight: within budget: 1 limit, 1 check"
    assert "safe" not in " ".join(said)


def test_a_broken_line_names_row_number_and_limit(made: Made) -> None:
    made.entry(group(made, "pae (threat.known_labels=5)", threat={"known_labels": 5}), "sign", rows(0.9))
    found = held(made, LABELS)
    [check] = found.broken
    assert isinstance(check, Check)
    line = next(line for line in told(found) if "limit 1: pae" in line and "exceeded" in line)
    assert line == (
        "sidelight: limit 1: pae (threat.known_labels=5), sign, server knowing 5 labels a class, labels, accuracy: "
        f"exceeded: value 0.9000 [{check.low:.4f}, {check.high:.4f}], upper end above 0.5"
    )
