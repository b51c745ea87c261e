"""What to do next, from what was found: what leaks, what nobody looked at, what the figures cannot decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..stored.results import Audit
from .answer import FEWEST_VICTIMS
from .summary import ALL_GOALS, Summary
from .verdicts import Answers
from .wording import listed, loss, words

SUITES = {"labels": "labels", "texts": "texts", "model": "models", "members": "members"}
"""By goal, the suite that audits it at length."""


class Step(NamedTuple):
    """A sentence and, where there is one, the command that does it."""

    said: str
    command: str = ""


def next_steps(audit: Audit, summaries: Sequence[Summary], answers: Sequence[Answers]) -> tuple[Step, ...]:
    """The steps in order of weight; empty where nothing was audited."""
    return (
        *_broken(summaries),
        *_leaking(answers),
        *_standing(summaries),
        *_open(audit, answers),
        *_failed(summaries),
        *_unaudited(summaries),
        *_weak(summaries),
        *_reach(audit, answers),
    )


def _broken(summaries: Sequence[Summary]) -> Iterator[Step]:
    names = [s.name for s in summaries if any(one.broken for one in s.promises)]
    if names:
        yield Step(f"Mend what {listed(names)} promise first: an audit shows more than the epsilon that they state.")


def _leaking(answers: Sequence[Answers]) -> Iterator[Step]:
    """Who leaks the same goals to the same adversary is told of together."""
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in answers:
        if goals := tuple(answer.about for answer in one.answers if answer.kept == "leaks"):
            alike.setdefault((one.adversary, goals), []).append(one.protocol)
    for (adversary, goals), names in alike.items():
        yield Step(f"Treat the {listed(list(goals))} under {listed(names)} as known to {adversary}.")
    if alike:
        said = "Try a defence in a suite of your own, and read its price beside what it keeps."
        yield Step(said, "sidelight list defences")


def _standing(summaries: Sequence[Summary]) -> Iterator[Step]:
    for s in summaries:
        rows = [row for goal in ALL_GOALS if (row := s.strongest(goal)) is not None]
        weak = s.group.floor is not None and not s.group.floor.reached
        dear = s.group.price is not None and s.group.price.verdict == "worse"
        if s.run.defences and rows and not weak and not dear and all(row.verdict == "resists" for row in rows):
            price = f" at a utility loss of {loss(s.group.price)}" if s.group.price else ""
            said = f"Under {s.name} nothing that was attacked leaked{price}"
            yield Step(f"{said}: try it on your own data before you rely on it.")


def _open(audit: Audit, answers: Sequence[Answers]) -> Iterator[Step]:
    for goal, about in ALL_GOALS.items():
        unasked = [(o.protocol, a) for o in answers for a in o.answers if (a.goal, a.kept) == (goal, "not audited")]
        names = list(dict.fromkeys(protocol for protocol, a in unasked if not a.asked))
        if names:
            said = f"Nothing is known of the {about} under {listed(names)}"
            if audit.head.elsewhere:
                yield Step(f"{said}: name an attack with that goal, and give what it is scored on with the truth.")
            else:
                them = "it" if goal == "model" else "them"
                yield Step(f"{said}: audit {them}.", f"sidelight audit {SUITES[goal]}")


def _failed(summaries: Sequence[Summary]) -> Iterator[Step]:
    if sum(len(s.failed) for s in summaries):
        yield Step("Run the same audit into the same folder again: what failed runs again, what is finished stays.")


def _unaudited(summaries: Sequence[Summary]) -> Iterator[Step]:
    kinds = dict.fromkeys(words(kind) for s in summaries for kind in s.unaudited)
    if kinds:
        said = f"No attack looked at {listed(list(kinds))}"
        yield Step(f"{said}: take what they hold as known, or bring an attack of your own.")


def _weak(summaries: Sequence[Summary]) -> Iterator[Step]:
    names = [s.name for s in summaries if s.group.floor is not None and not s.group.floor.reached]
    if names:
        yield Step(f"Tune {listed(names)} to the utility floor before you trust what it does not leak.")


def _reach(audit: Audit, answers: Sequence[Answers]) -> Iterator[Step]:
    undecided = any(answer.kept == "inconclusive" for one in answers for answer in one.answers)
    if audit.head.elsewhere:
        why = "Undecided figures want more samples" if undecided else "One recording is no rule"
        yield Step(f"{why}: record the system again, with other data.")
    elif audit.head.victims < FEWEST_VICTIMS:
        why = "Undecided figures want more rows or more victims" if undecided else "One draw of the data is no rule"
        yield Step(f"{why}: {FEWEST_VICTIMS} victims give intervals over victims.", f"--seeds {FEWEST_VICTIMS}")
    elif undecided:
        yield Step("Undecided figures want more rows: raise `victim_train` in a suite of your own.")
