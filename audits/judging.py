"""Judges a finished attack: checks its guess, scores it beside its twins, and states advantage and verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy

from ..attacks.attack import Goal, Guess, LabelGuess, TextGuess
from ..system.backbone import Backbone
from ..system.public import Public, load_public
from ..system.truth import load_truth
from ..system.view import load_view
from . import guess_checks
from .cells import Cell, Scored, unscored
from .scoring import PRIMARY, Answers, Rows, score
from .statistics import Interval, Values, advantage, best_of, interval, verdict
from .twins import Blind
from .workers import Broken, Done

EXAMPLES = 10
"""Guesses kept beside the truth for the report."""

Twin = Mapping[str, Mapping[str, Rows]]
"""Candidates for a twin, by name, each with its metrics."""


@dataclass(frozen=True)
class Judge:
    """One recorded run, with all that its guesses are compared with."""

    cell: Cell
    fields: Mapping[str, Any]
    """What every result of the cell says."""
    public: Public
    answers: Answers
    backbone: Backbone

    def __call__(self, mine: Done | Broken, shuffled: Done | Broken | None) -> Scored:
        """Score the guess; one that cannot be scored is a failed cell with its reason."""
        seconds = round(mine.seconds, 3)
        if fault := self._fault(mine):
            return unscored(self.fields, "failed", fault, seconds)
        assert isinstance(mine, Done)
        goal = self.cell.attack.goal
        rows = score(goal, mine.guess, self.answers)
        twins = self._twins(shuffled)
        outcome: dict[str, Any] = {
            "status": "scored",
            "reason": self._remark(mine.guess, shuffled),
            "seconds": seconds,
            "controls": {},
        }
        results = []
        for at, (metric, found) in enumerate(rows.items()):
            generator = numpy.random.default_rng([int(self.cell.key[-12:], 16), at])
            numbers = compare(metric, found, twins, generator, primary=metric == PRIMARY[goal])
            if numbers is None:
                reason = f"a twin scores 1 on {metric}, so that no advantage is possible; give harder data"
                return unscored(self.fields, "failed", reason, seconds)
            results.append({**self.fields, **numbers, **outcome})
        return Scored(results, rows, examples(mine.guess, self.answers))

    def _fault(self, outcome: Done | Broken) -> str | None:
        if isinstance(outcome, Broken):
            return outcome.reason
        queries = [query.id for query in self.public.queries]
        ids = [row.id for row in self.answers.truth.rows]
        classes, vocabulary = len(self.public.labels), self.backbone.vocabulary
        return guess_checks.validate(outcome.guess, self.cell.attack.goal, ids, classes, vocabulary, queries)

    def _twins(self, shuffled: Done | Broken | None) -> tuple[Twin, Twin]:
        """The outsider's candidates and those that saw the rest of the view."""
        goal = self.cell.attack.goal
        blind = Blind(load_view(self.cell.run / "view"), self.public, self.backbone, self.answers.targets)
        outsiders, rest = blind.outsider(goal), blind.rest(goal, self.cell.attack.attacked)
        if isinstance(shuffled, Done) and self._fault(shuffled) is None:
            outsiders = {**outsiders, "shuffled": shuffled.guess}
        scored = [{name: score(goal, g, self.answers) for name, g in side.items()} for side in (outsiders, rest)]
        return scored[0], scored[1]

    def _remark(self, guess: Guess, shuffled: Done | Broken | None) -> str | None:
        """What a reader must know of a scored cell."""
        known = {
            Goal.LABELS: tuple(row.id for row in self.answers.truth.rows),
            Goal.TEXTS: self.answers.targets,
            Goal.MODEL: self.answers.truth.queries,
        }[self.cell.attack.goal]
        absent = guess_checks.missing(guess, known)
        remarks = [f"{len(absent)} rows have no guess and count as wrong"] if absent else []
        if shuffled is not None and (fault := self._fault(shuffled)):
            remarks.append(f"the twin on the shuffled view failed: {fault}")
        return "; ".join(remarks) or None


def open_run(cell: Cell, fields: Mapping[str, Any], backbone: Backbone) -> Judge:
    """The judge of a cell; this is where the truth is opened."""
    public = load_public(cell.run / "public")
    answers = Answers(load_truth(cell.run / "truth"), public.labels, public.targets, backbone.tokenizer.decode)
    return Judge(cell, fields, public, answers, backbone)


def compare(
    metric: str, found: Rows, twins: tuple[Twin, Twin], generator: numpy.random.Generator, primary: bool
) -> dict[str, Any] | None:
    """A metric's value, twins, advantage over the stronger twin, and verdict; None where a primary twin is perfect."""
    half = numpy.array([int(name, 16) % 2 == 0 for name in found.ids])
    stated: list[dict[str, Any] | None] = []
    blinds: dict[str, Values] = {}
    for side, twin in zip(("outsider", "rest"), twins, strict=True):
        candidates = {n: m[metric].values for n, m in twin.items() if metric in m and m[metric].ids == found.ids}
        if candidates:
            blinds[side], name = best_of(candidates, half)
            stated.append({**_fields(interval(blinds[side], generator)), "twin": name})
        else:
            stated.append(None)
    gain = advantage(found.values, best_of(blinds, half)[0], generator) if blinds else None
    if primary and gain is None:
        return None
    return {
        "metric": metric,
        "primary": primary,
        "direction": "higher",
        **_fields(interval(found.values, generator)),
        "blind_outsider": stated[0],
        "blind_rest": stated[1],
        "advantage": gain and gain.value,
        "advantage_low": gain and gain.low,
        "advantage_high": gain and gain.high,
        # no row is defended yet, hence none has a control: an undefended row is never said to resist
        "verdict": verdict(gain, controlled=False) if gain and primary else None,
        "n": len(found.values),
    }


def _fields(found: Interval) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}


def examples(guess: Guess, answers: Answers) -> list[dict[str, Any]]:
    """The first few guesses beside the truth: private."""
    rows = {row.id: row for row in answers.truth.rows}
    if isinstance(guess, TextGuess):
        sure = guess.certified or (False,) * len(guess.ids)
        kept = [t for t in zip(guess.ids, guess.tokens, sure, strict=True) if t[0] in set(answers.targets)][:EXAMPLES]
        return [
            {"id": i, "original": answers.decode(rows[i].tokens), "guess": answers.decode(found), "certified": certain}
            for i, found, certain in kept
        ]
    if isinstance(guess, LabelGuess):
        pairs = list(zip(guess.ids, guess.labels.tolist(), strict=True))[:EXAMPLES]
        return [{"id": i, "original": rows[i].label, "guess": answers.labels[found]} for i, found in pairs]
    return []
