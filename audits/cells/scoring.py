"""Joins a guess with the truth on ids, and scores each row.

Rows that the guess leaves out count as wrong. A metric that does not apply to a row (no slot in its text) leaves the
row out of that metric, by name, and n says so.

Rows whose labels the threat model gives away are in no score of labels, whatever a guess says of them. Samples that the
device made up have no truth, and are in no score at all.

Text scores are left-aligned; the truth's tokens are the denominator; prompt and opening tokens are not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy
import torch
from scipy.optimize import linear_sum_assignment

from ...attacks.attack import Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess
from ...system.truth import TrueText, Truth
from ..statistics import Direction, Values
from .membership import Game

PRIMARY = {
    Goal.LABELS: "accuracy",
    Goal.TEXTS: "position_accuracy",
    Goal.MODEL: "agreement",
    Goal.MEMBERS: "tpr_at_1",
}
"""The metric that a goal is shown by."""

RANDOM = "random_row_accuracy"
"""Of rows whose label a coin drew: disclosure in the strict sense, chance exactly 1/K."""

PARTITION = "partition_accuracy"
"""Of ordinary rows, after the best one-to-one matching of guessed to true classes: whether rows of a class are found to
belong together, whatever the class is called. Its chance level is far above 1/K. The matching is made once, on all
scored rows, so that intervals are conditional on it; a twin has a matching of its own."""

TASK = "task_accuracy"
"""How often a stolen model is right about a query."""

CLOSENESS = "closeness"
"""Of two models on a query: 1 less the total variation distance of their calibrated probabilities, 1 for equal ones."""
SHARPNESS = tuple(2.0**power for power in range(-6, 9))
"""Heights of a standard deviation of scores, in nats, that are tried."""

JUDGED = frozenset({*PRIMARY.values(), RANDOM})
"""Metrics that carry a verdict of their own."""

PAIRED = JUDGED | {PARTITION}
"""Metrics that no twin may lack."""


@dataclass(frozen=True)
class Rows:
    """One metric's values by row."""

    ids: tuple[str, ...]
    values: Values
    direction: Direction = "higher"


@dataclass(frozen=True)
class Answers:
    """What guesses of one run are compared with."""

    truth: Truth
    labels: tuple[str, ...]
    targets: tuple[str, ...]
    """Ids that text guesses are scored on."""
    decode: Callable[[Sequence[int]], str]
    """Tokens to text."""
    known: frozenset[str] = frozenset()
    """Ids whose labels the adversary knows beforehand."""
    game: Game = Game((), {}, {})
    """Whose membership is asked."""

    @property
    def unknown(self) -> tuple[TrueText, ...]:
        """The rows whose labels are asked for."""
        return tuple(row for row in self.truth.rows if row.id not in self.known)


def score(goal: Goal, guess: Guess, answers: Answers) -> dict[str, Rows]:
    """Every metric of a goal, the primary one first."""
    if goal is Goal.LABELS and isinstance(guess, LabelGuess):
        return _labels(guess, answers)
    if goal is Goal.TEXTS and isinstance(guess, TextGuess):
        return _texts(guess, answers)
    if goal is Goal.MODEL and isinstance(guess, StolenModel):
        return _model(guess, answers)
    if goal is Goal.MEMBERS and isinstance(guess, MembershipScores):
        return {name: Rows(answers.game.ids, values) for name, values in answers.game.scored(guess).items()}
    raise TypeError(f"no scorer takes a {type(guess).__name__} for the goal {goal}")


def random_row_bound(epsilon: float, classes: int) -> float:
    """Most of the random-label rows that anybody can be right about under randomised response at an epsilon.

    e^epsilon / (e^epsilon + K - 1), the probability that a label stays as it is (Warner 1965).
    """
    return 1 / (1 + (classes - 1) * exp(-epsilon))


def _labels(guess: LabelGuess, answers: Answers) -> dict[str, Rows]:
    """Ordinary rows, whose labels their texts may tell, apart from those whose label a coin drew."""
    guessed = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
    index = {label: at for at, label in enumerate(answers.labels)}
    rows = answers.unknown
    found = {row.id: (index[row.label], guessed.get(row.id, -1)) for row in rows}

    def right(row: TrueText, label: int) -> float:
        return float(label == found[row.id][0])

    ordinary, by_coin = ([(row, found[row.id][1]) for row in rows if row.random is coin] for coin in (False, True))
    matching = _matching([found[row.id] for row, _ in ordinary], len(index))
    matched = [(row, matching.get(label, -1)) for row, label in ordinary]
    scored = {"accuracy": ordinary, PARTITION: matched, RANDOM: by_coin}
    return {name: _per_row(pairs, right) for name, pairs in scored.items() if pairs}


def _matching(pairs: Sequence[tuple[int, int]], classes: int) -> dict[int, int]:
    """The true class for each guessed one under which most rows (true, guessed) are right; -1 is no guess."""
    confused = numpy.zeros((classes, classes))
    for true, label in pairs:
        confused[label, true] += label >= 0
    rows, columns = linear_sum_assignment(confused, maximize=True)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def _model(guess: StolenModel, answers: Answers) -> dict[str, Rows]:
    """Whether a stolen model says what the victim says, whether it is right, and how near its distribution is."""
    truth = answers.truth
    at = {name: place for place, name in enumerate(guess.ids)}
    asked = torch.tensor([name in at for name in truth.queries])
    outputs = guess.outputs[[at.get(name, 0) for name in truth.queries]]
    said, victim = outputs.argmax(1), truth.outputs.argmax(1)
    found = {"agreement": asked & (said == victim)}
    if truth.query_labels:
        labels = torch.tensor([answers.labels.index(label) for label in truth.query_labels])
        apart = (calibrated(outputs, labels) - calibrated(truth.outputs, labels)).abs().sum(1) / 2
        found |= {TASK: asked & (said == labels), CLOSENESS: asked * (1 - apart).clamp(0, 1)}
    return {name: Rows(truth.queries, values.double().numpy()) for name, values in found.items()}


def calibrated(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Class scores (Q, K) as probabilities, sharpened until labels (Q,) are likeliest.

    Protocols give scores of different kinds, probabilities and logits of any height, and so do attacks: the softmaxes
    of two models can only be compared when each has a sharpness of its own, Guo et al. (arXiv 1706.04599).
    """
    scores = outputs.double()
    if bool((scores >= 0).all()) and torch.allclose(scores.sum(1), torch.ones_like(scores[:, 0]), atol=1e-3):
        scores = scores.clamp_min(1e-9).log()
    scores = scores - scores.max(1, keepdim=True).values
    spread = scores.std().clamp_min(1e-12)
    tried = [(height * scores / spread).log_softmax(1) for height in SHARPNESS]
    return max(tried, key=lambda one: float(one.gather(1, labels.unsqueeze(1)).mean())).exp()


def linked(guess: TextGuess, answers: Answers) -> TextGuess:
    """A guess by id: texts that name no samples go one to one to the rows asked for, so that most tokens are right.

    Such a matching has a chance level that grows with the texts offered: of more than the run has rows, the certified
    ones and then the first are kept, and a twin offers as many, matched in the same way.
    """
    if guess.ids or not guess.tokens:
        return guess
    rows, sure = asked_texts(answers), guess.certified or (False,) * len(guess.tokens)
    kept = sorted(range(len(guess.tokens)), key=lambda at: not sure[at])[: len(answers.truth.rows)]
    texts = [guess.tokens[at] for at in kept]
    gain = numpy.array([[_positions(row.tokens, found) or 0.0 for found in texts] for row in rows])
    gain += 1e-3 * numpy.array([[_bag(row.tokens, found) for found in texts] for row in rows])
    places, taken = linear_sum_assignment(gain, maximize=True)
    return TextGuess(
        tuple(rows[place].id for place in places),
        tuple(texts[at] for at in taken),
        tuple(sure[kept[at]] for at in taken) if guess.certified else (),
    )


def asked_texts(answers: Answers) -> list[TrueText]:
    """The rows whose texts are asked for, without empty ones."""
    wanted = set(answers.targets)
    return [row for row in answers.truth.rows if row.id in wanted and row.tokens]


def _texts(guess: TextGuess, answers: Answers) -> dict[str, Rows]:
    guess = linked(guess, answers)
    guessed = dict(zip(guess.ids, guess.tokens, strict=True))
    pairs = [(row, guessed.get(row.id, ())) for row in asked_texts(answers)]
    metrics: dict[str, Callable[[TrueText, tuple[int, ...]], float | None]] = {
        "position_accuracy": lambda row, found: _positions(row.tokens, found),
        "bag_f1": lambda row, found: _bag(row.tokens, found),
        "exact": lambda row, found: float(row.tokens == tuple(found)),
        "length_accuracy": lambda row, found: float(len(row.tokens) == len(found)),
        "slot_accuracy": lambda row, found: _positions(row.tokens, found, row.slots),
        "template_accuracy": lambda row, found: _positions(row.tokens, found, [not s for s in row.slots]),
        "word_accuracy": lambda row, found: _words(answers.decode(row.tokens), answers.decode(found)),
        "pii_recall": lambda row, found: _spans(row.spans, answers.decode(found)),
    }
    scored = {name: _per_row(pairs, metric) for name, metric in metrics.items()}
    if guess.certified:
        sure = dict(zip(guess.ids, guess.certified, strict=True))
        certified = [(row, found) for row, found in pairs if sure.get(row.id, False)]
        right = {row.id for row, found in certified if row.tokens == tuple(found)}
        scored["certified_recall"] = _per_row(pairs, lambda row, found: float(row.id in right))
        scored["certified_precision"] = _per_row(certified, lambda row, found: float(row.id in right))
    return {name: rows_ for name, rows_ in scored.items() if rows_.ids}


def _per_row(pairs: Sequence[tuple[TrueText, Any]], metric: Callable[[TrueText, Any], float | None]) -> Rows:
    values = {row.id: metric(row, found) for row, found in pairs}
    kept = {name: value for name, value in values.items() if value is not None}
    return Rows(tuple(kept), numpy.array(list(kept.values()), dtype=numpy.float64))


def _positions(true: Sequence[int], found: Sequence[int], counted: Sequence[bool] | None = None) -> float | None:
    """Share of the counted positions whose token is right; None where none counts."""
    positions = [i for i in range(len(true)) if counted is None or counted[i]]
    if not positions:
        return None
    return sum(i < len(found) and found[i] == true[i] for i in positions) / len(positions)


def _bag(true: Sequence[int], found: Sequence[int]) -> float:
    """F1 of the two multisets of tokens: order-free, so it counts more than was recovered in place."""
    common = sum((Counter(true) & Counter(found)).values())
    return 2 * common / (len(true) + len(found))


def _words(true: str, found: str) -> float | None:
    """Share of the truth's words, by place, that are right."""
    words, guessed = true.split(), found.split()
    if not words:
        return None
    return sum(a == b for a, b in zip(words, guessed, strict=False)) / len(words)


def _spans(spans: Sequence[str], found: str) -> float | None:
    """Share of the personal spans whose text stands in the guess; None for a text without any."""
    return sum(span in found for span in spans) / len(spans) if spans else None
