"""Metrics of other people's packages: scored beside ours, refused with one sentence where they are wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy
import pytest
import torch

from sidelight.attacks.attack import Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess
from sidelight.audits.cells.composites import measure_composite
from sidelight.audits.cells.fields import stated
from sidelight.audits.cells.judging import measure
from sidelight.audits.cells.membership import Game
from sidelight.audits.cells.metrics import METRICS, Metric, identity_of, metrics_of, score
from sidelight.audits.cells.scoring import JUDGED, Answers
from sidelight.audits.gates.metrics import goal_of
from sidelight.audits.statistics import Direction, Measured
from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.public import Challenge
from sidelight.system.truth import TrueText, Truth

LABELS = ("bad", "fair", "good")
ROWS = tuple(
    TrueText(name, "a text", label, (1, 2), (False,) * 2, ())
    for name, label in zip("abcd", (*LABELS, "bad"), strict=True)
)
MEMBERS = Game(
    tuple(Challenge(f"c{at}", "a text", "bad") for at in range(4)),
    {"c0": "device-0"},
    {f"c{at}": at for at in range(4)},
)
ANSWERS = Answers(Truth(ROWS, ("q",), torch.eye(3)[:1], ("bad",)), LABELS, ("a", "b"), str, frozenset({"d"}), MEMBERS)
GUESS = LabelGuess(("a", "b", "c"), torch.tensor([0, 0, 0]))


class Planted(Metric):
    """Gives what a test says."""

    name = "planted"
    source = "tests"
    goal = Goal.LABELS
    said: ClassVar[Any] = {}

    def rows(self, guess: Guess, answers: Answers) -> Mapping[str, float]:
        if isinstance(self.said, Exception):
            raise self.said
        found: Mapping[str, float] = self.said(guess) if callable(self.said) else self.said
        return found


class Distance(Planted):
    """How far a class is from the right one."""

    direction = "lower"

    def rows(self, guess: Guess, answers: Answers) -> Mapping[str, float]:
        assert isinstance(guess, LabelGuess)
        found = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
        return {row.id: abs(found.get(row.id, 9) - LABELS.index(row.label)) / 9 for row in answers.unknown}


@contextmanager
def installed(metric: type[Metric], said: Any = None, **changes: Any) -> Iterator[None]:
    """A metric that the registry holds for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(METRICS, "_table", {"planted": "planted:Planted"})
        patch.setattr(METRICS, "_origins", {"planted": "their-package 2.0"})
        patch.setattr(type(METRICS), "__getitem__", lambda self, name: metric)
        for name, value in {"said": said, **changes}.items():
            patch.setattr(metric, name, value, raising=False)
        yield


def test_without_packages_there_are_our_metrics_alone() -> None:
    assert dict(METRICS) == {}
    assert identity_of(Goal.LABELS) == {}
    assert list(score(Goal.LABELS, GUESS, ANSWERS)) == ["accuracy", "partition_accuracy"]


def test_a_metric_is_scored_in_our_order_of_rows_and_after_our_metrics() -> None:
    with installed(Planted, {"c": 0.25, "a": True}):
        found = score(Goal.LABELS, GUESS, ANSWERS)
        assert list(found) == ["accuracy", "partition_accuracy", "planted"]
        assert (found["planted"].ids, found["planted"].values.tolist()) == (("a", "c"), [1.0, 0.25])
        assert found["planted"].direction == "higher"
        assert (list(metrics_of(Goal.LABELS)), list(metrics_of(Goal.TEXTS))) == (["planted"], [])
    assert "planted" not in JUDGED


def test_a_metric_that_applies_to_no_row_is_left_out() -> None:
    with installed(Planted, {}):
        assert "planted" not in score(Goal.LABELS, GUESS, ANSWERS)


@pytest.mark.parametrize(
    ("goal", "guess", "ids"),
    [
        (Goal.LABELS, GUESS, ["a", "b", "c"]),
        (Goal.TEXTS, TextGuess(("a",), ((1, 2),)), ["a", "b"]),
        (Goal.MODEL, StolenModel(("q",), torch.eye(3)[:1]), ["q"]),
        (Goal.MEMBERS, MembershipScores(tuple(f"c{at}" for at in range(4)), torch.arange(4.0)), list(MEMBERS.ids)),
    ],
)
def test_each_goal_has_its_rows(goal: Goal, guess: Guess, ids: list[str]) -> None:
    with installed(Planted, dict.fromkeys(ids, 0.5), goal=goal):
        assert score(goal, guess, ANSWERS)["planted"].ids == tuple(ids)
    with (
        installed(Planted, {"elsewhere": 0.5}, goal=goal),
        pytest.raises(UsageError, match="scored 1 rows that nobody"),
    ):
        score(goal, guess, ANSWERS)


def test_texts_that_name_no_samples_come_matched_with_them() -> None:
    seen: list[TextGuess] = []

    def keeping(guess: TextGuess) -> dict[str, float]:
        seen.append(guess)
        return {}

    with installed(Planted, staticmethod(keeping), goal=Goal.TEXTS):
        score(Goal.TEXTS, TextGuess((), ((1, 2), (7,))), ANSWERS)
    assert (set(seen[0].ids), set(seen[0].tokens)) == ({"a", "b"}, {(1, 2), (7,)})


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        (math.nan, "gave a row nan; give a number"),
        (math.inf, "gave a row inf; give a number"),
        (-0.1, "gave a row -0.1; give a number"),
        (1.5, "gave a row 1.5; give a number"),
        ("half", "gave a row str; give a number"),
        (torch.ones(2), "gave a row Tensor; give a number"),
        (None, "gave a row NoneType"),
    ],
)
def test_a_score_that_is_none_is_refused(said: Any, refusal: str) -> None:
    with installed(Planted, {"a": said}), pytest.raises(UsageError, match=refusal) as caught:
        score(Goal.LABELS, GUESS, ANSWERS)
    assert str(caught.value).startswith("the metric 'planted' of their-package 2.0 ")


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ([0.5], "gave list; give a score in"),
        (None, "gave NoneType"),
        (KeyError("a private text"), r"raised KeyError in test_metrics\.py, line \d+$"),
        ({"d": 1.0}, "scored 1 rows that nobody asked for"),  # its label is given away
    ],
)
def test_what_is_no_mapping_of_rows_is_refused(said: Any, refusal: str) -> None:
    with installed(Planted, said), pytest.raises(UsageError, match=refusal) as caught:
        score(Goal.LABELS, GUESS, ANSWERS)
    assert "private" not in str(caught.value)


@pytest.mark.parametrize("change", [{"direction": "up"}, {"name": "other"}, {"goal": "fame"}])
def test_a_metric_that_says_of_itself_what_cannot_be_is_refused(change: dict[str, str]) -> None:
    refusal = (
        r"the metric 'planted' of their-package 2\.0 is no Metric of that name with a goal and the direction higher"
    )
    with installed(Planted, {}, **change), pytest.raises(UsageError, match=refusal):
        score(Goal.LABELS, GUESS, ANSWERS)


class Demanding(Planted):
    """Cannot be made without more."""

    name = "near"

    def __init__(self, more: int) -> None: ...


class Unfinished(Metric):
    """Scores nothing."""

    name = "near"
    source = "tests"
    goal = Goal.LABELS


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (
            "no_such_package:Metric",
            r"cannot be loaded \(ModuleNotFoundError: No module named 'no_such_package'\); repair",
        ),
        ("collections:Nothing", r"cannot be loaded \(AttributeError: .*\); repair its package or uninstall it"),
        ("collections:Counter", "is no Metric of that name"),
        (f"{__name__}:Demanding", r"cannot be made \(TypeError: .*more.*\); repair its package"),
        (f"{__name__}:Unfinished", r"cannot be made \(TypeError: .*abstract.*\); repair its package"),
    ],
)
def test_a_package_that_gives_no_metric_is_named(reference: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METRICS, "_table", {"near": reference})
    monkeypatch.setattr(METRICS, "_origins", {"near": "their-package 2.0"})
    with pytest.raises(UsageError, match=r"the metric 'near' of their-package 2\.0 " + said):
        identity_of(Goal.LABELS)


def test_a_metric_cannot_take_the_place_of_ours() -> None:
    with installed(Planted, {"a": 1.0}, name="accuracy"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(METRICS, "_table", {"accuracy": "planted:Planted"})
        with pytest.raises(UsageError, match="the metric 'accuracy' has the name of one of Sidelight's own"):
            score(Goal.LABELS, GUESS, ANSWERS)


def test_a_budget_may_name_a_metric_of_a_package_and_goes_by_its_goal() -> None:
    with installed(Planted, goal=Goal.MODEL):
        assert goal_of("planted") == "model"
        with pytest.raises(UnknownName, match="unknown metric in the budget 'plantet'; did you mean 'planted'"):
            goal_of("plantet")
    with pytest.raises(UnknownName, match="unknown metric in the budget 'planted'"):
        goal_of("planted")


def of(direction: Direction, scale: float) -> Measured:
    attack, blind = numpy.linspace(0, 0.4, 50), numpy.linspace(0.3, 0.9, 50)
    ids = tuple(f"{at:x}" for at in range(50))
    if direction == "higher":
        attack, blind = 1 - attack * scale, 1 - blind * scale
    return Measured(ids, attack, {"prior": blind}, {"prior": blind, "worse": blind * 1.0}, None, direction)


def test_numbers_of_a_distance_are_those_of_what_it_lacks_to_one() -> None:
    lower, higher = (stated([{"m": of(direction, 1.0)}], Goal.LABELS, "code")[0] for direction in ("lower", "higher"))
    assert (lower["direction"], higher["direction"]) == ("lower", "higher")
    assert lower["value"] == pytest.approx(0.2)
    assert (lower["low"], lower["high"]) == pytest.approx((1 - higher["high"], 1 - higher["low"]))
    assert lower["low"] < lower["value"] < lower["high"]
    assert lower["blind_outsider"]["value"] == pytest.approx(0.6)
    assert lower["blind_outsider"]["low"] < 0.6 < lower["blind_outsider"]["high"]
    # divergences: 1 - value / blind
    assert lower["advantage"] == pytest.approx(1 - 0.2 / 0.6)
    assert (lower["advantage_low"], lower["advantage_high"]) == (higher["advantage_low"], higher["advantage_high"])


def test_the_stronger_twin_of_a_distance_is_the_nearer_one() -> None:
    ids = tuple(f"{at:x}" for at in range(40))
    near, far = numpy.full(40, 0.3), numpy.full(40, 0.8)
    rows = Measured(ids, numpy.full(40, 0.1), {"far": far, "near": near}, {"far": far}, None, "lower")
    (found,) = stated([{"m": rows}], Goal.LABELS, "code")
    assert found["blind_outsider"]["twin"] == "near"
    assert found["advantage"] == pytest.approx(1 - 0.1 / 0.3)


def test_directions_stay_with_rows_through_twins_and_votes() -> None:
    with installed(Distance):
        found = score(Goal.LABELS, GUESS, ANSWERS)
        twin = {"prior": score(Goal.LABELS, LabelGuess(("a", "b", "c"), torch.tensor([2, 2, 2])), ANSWERS)}
    alone = measure(found, (twin, twin), len(LABELS))["planted"]
    assert (alone.direction, alone.attack.tolist()) == ("lower", [0.0, 1 / 9, 2 / 9])
    assert alone.outsider["prior"].tolist() == [2 / 9, 1 / 9, 0.0]
    voted = measure_composite(found, found, {"sign": {"planted": alone}})["planted"]
    assert voted.direction == "lower"
