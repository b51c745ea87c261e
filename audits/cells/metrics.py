"""Metrics from other people's packages, scored beside ours on every guess, its twins' among them.

They carry no verdict, so that no verdict depends on what else is installed. A metric runs in the harness and sees the
truth: unlike an attack, which is confined, its package must be trusted.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

import numpy

from ...attacks.attack import Goal, Guess, TextGuess
from ...system.errors import UsageError, place
from ...system.registry import Registry
from ..sandbox.prepared_key import plugged_code
from ..statistics import Direction
from . import scoring
from .scoring import Answers, Rows, asked_texts, linked


class Metric(ABC):
    """A score of each row for guesses with one goal."""

    name: ClassVar[str]
    """Registry key and row of the report."""
    source: ClassVar[str]
    """Where the metric comes from."""
    goal: ClassVar[Goal]
    direction: ClassVar[Direction] = "higher"
    """Whether a larger or a smaller score tells of a leak: 1 or 0 is the most that can be found."""

    @abstractmethod
    def rows(self, guess: Guess, answers: Answers) -> Mapping[str, float]:
        """By id, a score in [0, 1] of each row that is asked for, also of those that the guess leaves out.

        Labels: `answers.unknown`. Texts: the rows of `answers.truth` in `answers.targets`; a guess that named no
        samples comes matched with them. Model: `answers.truth.queries`. Members: `answers.game.ids`. A row to which
        the metric does not apply, by its truth, may be left out.
        """


METRICS: Registry[type[Metric]] = Registry("metric", {}, group="sidelight.metrics")


def metrics_of(goal: Goal) -> dict[str, Metric]:
    """By name, the metrics of guesses with a goal."""
    made = {name: _made(name) for name in METRICS}
    return {name: metric for name, metric in made.items() if metric.goal == goal}


def _made(name: str) -> Metric:
    """A metric; UsageError where its package does not give one, since every audit asks for it."""
    kind = METRICS[name]
    right = {"name": (name,), "goal": tuple(Goal), "direction": get_args(Direction)}
    if not (isinstance(kind, type) and issubclass(kind, Metric)) or any(
        getattr(kind, one, None) not in values for one, values in right.items()
    ):
        raise _wrong(
            name, "is no Metric of that name with a goal and the direction higher or lower; repair its package"
        )
    try:
        return kind()
    except Exception as error:  # of another package
        raise _wrong(name, f"cannot be made ({type(error).__name__}: {error}); repair its package") from None


def identity_of(goal: Goal) -> dict[str, str]:
    """By name, what a goal's metrics make scores with: a cell is scored again by another version."""
    return {name: plugged_code(type(metric).__module__) for name, metric in metrics_of(goal).items()}


def score(goal: Goal, guess: Guess, answers: Answers) -> dict[str, Rows]:
    """Every metric of a goal, the primary one first and those of other packages last; UsageError where one is wrong."""
    found = scoring.score(goal, guess, answers)
    others = metrics_of(goal)
    if not others:
        return found
    wanted, kept = _asked(goal, answers), linked(guess, answers) if isinstance(guess, TextGuess) else guess
    for name, metric in others.items():
        if name in found:
            raise _wrong(name, "has the name of one of Sidelight's own; give it another")
        rows = _rows(metric, kept, answers, wanted)
        if rows.ids:
            found[name] = rows
    return found


def _asked(goal: Goal, answers: Answers) -> Sequence[str]:
    """Ids of the rows that guesses with a goal are scored on."""
    match goal:
        case Goal.LABELS:
            return [row.id for row in answers.unknown]
        case Goal.TEXTS:
            return [row.id for row in asked_texts(answers)]
        case Goal.MODEL:
            return answers.truth.queries
        case _:
            return answers.game.ids


def _rows(metric: Metric, guess: Guess, answers: Answers, wanted: Sequence[str]) -> Rows:
    """A metric's scores in the order of the rows asked for."""
    try:
        found = metric.rows(guess, answers)
    except Exception as error:  # of another package; what it quotes may be private
        raise _wrong(metric.name, f"raised {place(error)}") from None
    if not isinstance(found, Mapping):
        raise _wrong(metric.name, f"gave {type(found).__name__}; give a score in [0, 1] for each id")
    if foreign := len(found.keys() - set(wanted)):
        raise _wrong(metric.name, f"scored {foreign} rows that nobody asked for; score those of the goal {metric.goal}")
    ids = tuple(one for one in wanted if one in found)
    return Rows(ids, numpy.array([_score(metric, found[one]) for one in ids], dtype=numpy.float64), metric.direction)


def _score(metric: Metric, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # the last of a tensor
        raise _wrong(metric.name, f"gave a row {type(value).__name__}; give a number in [0, 1]") from None
    if math.isfinite(number) and 0 <= number <= 1:
        return number
    raise _wrong(metric.name, f"gave a row {number:g}; give a number in [0, 1], a distance divided by the largest")


def _wrong(name: str, what: str) -> UsageError:
    origin = "".join(f" of {one}" for one in METRICS.origins([name]).values())
    return UsageError(f"the metric {name!r}{origin} {what}")
