"""Judges a finished attack on one victim: checks its guess and scores it row by row beside its twins."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from ...attacks.attack import Attack, Goal, Guess, LabelGuess, MembershipScores, StolenModel, TextGuess
from ...system import files
from ...system.backbone import Backbone
from ...system.defences import DEFENCES
from ...system.public import load_public
from ...system.truth import load_truth
from ...system.view import load_view
from ..sandbox import guess_checks
from ..sandbox.workers import Broken, Done
from ..statistics import Measured, PerfectTwin
from .cell import SHUFFLED, Cell, Scored
from .fields import stated
from .membership import RATES, RESOLVED, TEXT_ONLY, Game
from .metrics import score
from .scoring import PAIRED, PRIMARY, RANDOM, Answers, Rows, linked, random_row_bound
from .twins import Blind

BROKEN = 0.0025
"""P-value at which a promise is called broken: the confidence of every privacy audit."""
EXAMPLES = 10
"""Guesses kept beside the truth for the report."""

Twin = Mapping[str, Mapping[str, Rows]]
"""Candidates for a twin, by name, each with its metrics."""


class Judge:
    """One recorded run, with all that guesses about it are compared with; here, and here alone, the truth is opened."""

    def __init__(self, run: Path, backbone: Backbone) -> None:
        self.public = load_public(run / "public")
        labels, targets = self.public.labels, self.public.targets
        known = frozenset(one.id for one in self.public.known)
        truth = load_truth(run / "truth")
        game = Game(self.public.challenge, truth.members, truth.groups)
        self.answers = Answers(truth, labels, targets, backbone.tokenizer.decode, known, game)
        self._vocabulary = backbone.vocabulary
        about = run / "run.json"
        self._retrained = files.read_json(about).get("retrained") if about.exists() else None
        view = load_view(run / "view")
        # a device may make up samples; whoever sees them cannot tell, so that naming them is no fault
        self._samples = frozenset(view.sample_ids()).union(row.id for row in truth.rows)
        self._blind = Blind(view, self.public, backbone, targets)
        self.twin_seconds = 0.0
        """This thread's time in making twins: work of the audit, as the attacks are, and no overhead."""
        self._sides: dict[tuple[Goal, frozenset[str], bool], tuple[Twin, Twin]] = {}

    def judge(self, cell: Cell, mine: Done | Broken, shuffled: Done | Broken | None) -> Scored:
        """Score a guess; one that cannot be scored is a failed cell with its reason."""
        seconds, attack = round(mine.seconds, 3), cell.attack
        assert isinstance(attack, Attack)
        if fault := self._fault(mine, attack):
            return Scored("failed", fault, seconds)
        if shuffled is not None and (fault := self._fault(shuffled, attack)):
            # without it, an attack that reads the truth elsewhere could not be told
            return Scored("failed", f"its twin on the shuffled view failed: {fault}", seconds)
        assert isinstance(mine, Done)
        if attack.goal is Goal.MEMBERS and (why := self._unresolved()):
            return Scored("not_applicable", why, seconds)
        twins = self._twins(attack, shuffled)
        measured = measure(score(attack.goal, mine.guess, self.answers), twins, len(self.answers.labels))
        blind = shuffled.guess if isinstance(shuffled, Done) else None
        scored = Scored("scored", None, seconds, (), measured, mine.guess, blind)
        try:
            metrics = stated([measured], attack.goal, cell.key)
        except PerfectTwin as error:
            return replace(scored, status="failed", reason=_perfect(error, twins[0], attack.goal))
        remark = "; ".join([*self._remarks(attack.goal, mine.guess, measured), *self.promised(metrics)]) or None
        roc = self.answers.game.curve(mine.guess) if isinstance(mine.guess, MembershipScores) else None
        return replace(scored, reason=remark, metrics=metrics, examples=examples(mine.guess, self.answers), roc=roc)

    def _unresolved(self) -> str | None:
        """Why a rate of false positives of 1 % cannot be stated; None where it can."""
        game, least = self.answers.game, round(RESOLVED / RATES[PRIMARY[Goal.MEMBERS]])
        if PRIMARY[Goal.MEMBERS] in game.rates and game.members:
            return None
        return (
            f"{len(game.members)} members and {game.non_members} others cannot resolve 1 % of false positives; give "
            f"data.non_member of at least {least}, and data that hold as many"
        )

    def _fault(self, outcome: Done | Broken, attack: Attack) -> str | None:
        if isinstance(outcome, Broken):
            return outcome.reason
        queries = [query.id for query in self.public.queries]
        classes = len(self.public.labels)
        return guess_checks.validate(
            outcome.guess, attack.goal, self._known(attack.goal), classes, self._vocabulary, queries, attack.linked
        )

    def _known(self, goal: Goal) -> frozenset[str]:
        """Ids that a guess may name."""
        return frozenset(one.id for one in self.public.challenge) if goal is Goal.MEMBERS else self._samples

    def _sides_of(self, attack: Attack) -> tuple[Mapping[str, Guess], Mapping[str, Guess]]:
        """The harness's own guesses without what is attacked."""
        if attack.goal is Goal.MEMBERS:
            alone = {TEXT_ONLY: self.answers.game.text_only, **self._blind.members()}
            return alone, alone
        sides = (self._blind.outsider(attack.goal), self._blind.rest(attack.goal, attack.attacked))
        if attack.linked:
            return sides
        texts = self._blind.texts(len(self.answers.truth.rows))
        return {**sides[0], **texts}, {**sides[1], **texts}

    def _twins(self, attack: Attack, shuffled: Done | Broken | None) -> tuple[Twin, Twin]:
        """The outsider's candidates and those that saw the rest of the view."""
        asked = (attack.goal, attack.attacked, attack.linked)
        if asked not in self._sides:
            started = time.thread_time()
            sides = self._sides_of(attack)
            scored = [{name: score(attack.goal, g, self.answers) for name, g in side.items()} for side in sides]
            self._sides[asked] = (scored[0], scored[1])
            self.twin_seconds += time.thread_time() - started
        outsiders, rest = self._sides[asked]
        if isinstance(shuffled, Done):
            outsiders = {**outsiders, SHUFFLED: score(attack.goal, shuffled.guess, self.answers)}
        return outsiders, rest

    def _remarks(self, goal: Goal, guess: Guess, measured: Mapping[str, Measured]) -> Iterator[str]:
        """What a reader must know of a scored cell."""
        known = {
            Goal.LABELS: tuple(row.id for row in self.answers.unknown),
            Goal.TEXTS: self.answers.targets,
            Goal.MODEL: self.answers.truth.queries,
            Goal.MEMBERS: tuple(one.id for one in self.public.challenge),
        }[goal]
        if isinstance(guess, TextGuess) and not guess.ids:
            yield f"{len(guess.tokens)} texts were found, and matched to the rows one to one"
        elif absent := guess_checks.missing(guess, known):
            yield f"{len(absent)} rows have no guess and count as wrong"
        if constant(guess):
            yield "the guess is the same for every row"
        if isinstance(guess, MembershipScores) and (area := self.answers.game.biased) is not None:
            yield f"texts alone tell members from others (area under the ROC {area:.3f}): no fair game"
        if isinstance(guess, TextGuess) and "pii_recall" not in measured:
            yield "the data mark no personal spans, so that none can be recalled"
        if goal is Goal.MODEL and self._retrained:
            yield f"a victim trained again on the same rows agrees with the first in {self._retrained['value']:.3f}"
        for name in self.public.facts.get("defences", {}):
            if name in DEFENCES and DEFENCES[name].evaded:
                yield f"{name}: {DEFENCES[name].evaded}"

    def promised(self, metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        """How many random-label rows randomised response allows to be found, and whether more are, by an exact test.

        The best attack reaches what is allowed on average, so that one in twenty would pass an interval's end by luck.
        """
        promised = self.public.facts.get("defences", {}).get("label-dp")
        for one in metrics:
            if promised is None or one["metric"] != RANDOM:
                continue
            bound = random_row_bound(promised["epsilon"], len(self.answers.labels))
            allowed = f"label-dp with epsilon {promised['epsilon']:g} allows {bound:.3f} of the random-label rows"
            more = binomtest(round(one["value"] * one["n"]), one["n"], bound, alternative="greater")
            broken = f", {one['value']:.3f} are found (p {more.pvalue:.1g}): a broken promise"
            yield allowed + (broken if more.pvalue <= BROKEN else " to be found")


def _perfect(error: PerfectTwin, outsiders: Twin, goal: Goal) -> str:
    """Why a twin without the leak may be perfect."""
    shuffled = outsiders.get(SHUFFLED, {}).get(PRIMARY[goal])
    if shuffled is not None and shuffled.values.mean() == 1:
        return "the attack is right about samples filed under wrong ids: it read them elsewhere than in the view"
    return f"{error}; give harder data"


def measure(found: Mapping[str, Rows], twins: tuple[Twin, Twin], classes: int) -> dict[str, Measured]:
    """Each metric's rows beside its twins' rows on the same samples.

    A candidate of a metric in PAIRED must have scored the same rows; other metrics may have no twin.
    """
    measured = {}
    for metric, rows in found.items():
        if metric == RANDOM:
            measured[metric] = Measured(rows.ids, rows.values, {}, {}, blind=1 / classes)
            continue
        aligned = [
            {name: m[metric].values for name, m in twin.items() if metric in m and m[metric].ids == rows.ids}
            for twin in twins
        ]
        if metric in PAIRED and any(len(kept) < len(twin) for kept, twin in zip(aligned, twins, strict=True)):
            raise ValueError(f"a twin of {metric} was scored on other rows than the attack")
        measured[metric] = Measured(rows.ids, rows.values, aligned[0], aligned[1], direction=rows.direction)
    return measured


def constant(guess: Guess) -> bool:
    """Whether every row has the same guess, which no view is needed for."""
    match guess:
        case LabelGuess(labels=labels):
            return len(labels) > 1 and len(labels.unique()) == 1
        case TextGuess(tokens=tokens):
            return len(tokens) > 1 and len(set(tokens)) == 1
        case StolenModel(outputs=outputs):
            return len(outputs) > 1 and len(outputs.argmax(1).unique()) == 1
        case MembershipScores(scores=scores):
            return len(scores) > 1 and len(scores.unique()) == 1
    return False


def examples(guess: Guess, answers: Answers) -> list[dict[str, Any]]:
    """The first few guesses of what is asked for, beside the truth: private."""
    rows = {row.id: row for row in answers.truth.rows}
    asked = {row.id for row in answers.unknown}
    if isinstance(guess, TextGuess):
        guess = linked(guess, answers)
        sure = guess.certified or (False,) * len(guess.ids)
        kept = [t for t in zip(guess.ids, guess.tokens, sure, strict=True) if t[0] in set(answers.targets)][:EXAMPLES]
        return [
            {
                "id": i,
                "original": answers.decode(rows[i].tokens),
                "guess": answers.decode(found),
                "certified": certain,
                "spans": list(rows[i].spans),
            }
            for i, found, certain in kept
        ]
    if isinstance(guess, LabelGuess):
        pairs = [pair for pair in zip(guess.ids, guess.labels.tolist(), strict=True) if pair[0] in asked][:EXAMPLES]
        return [{"id": i, "original": rows[i].label, "guess": answers.labels[found]} for i, found in pairs]
    return []
