"""What each protocol keeps from its adversary, in plain words: the answers that a reader came for.

One answer for each protocol, adversary and goal, over all settings that were audited: a goal that leaks under one
setting is not kept. No number of failed attacks makes a goal kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..stored.rows import Row
from .adversary import Adversary, adversary_of
from .claims import CLAIMED, judgement
from .summary import GOALS, MEMBERS, Summary
from .wording import attack, listed, percent, words

Kept = Literal["leaks", "inconclusive", "resists", "not audited", "nothing crosses"]
ANSWERS: Mapping[Kept, str] = {
    "leaks": "No",
    "inconclusive": "Undecided",
    "resists": "Not broken here",
    "not audited": "Not attacked",
    "nothing crosses": "Nothing crosses",
}
ASKED: Mapping[str, str] = {"labels": "labels", "texts": "texts", "model": "tuned model", "members": "members"}
READ: Mapping[tuple[str, str], str] = {
    ("labels", "accuracy"): "{} of the labels are read",
    ("labels", "random_row_accuracy"): "{} of labels drawn by coin are read",
    ("texts", "position_accuracy"): "{} of the tokens are rebuilt in their places",
    ("model", "agreement"): "{} of new texts are answered as by the tuned model",
    ("members", "tpr_at_1"): "{} of members are found at 1 % of false alarms",
}
"""By goal and metric, what an attack does; other metrics are named."""


@dataclass(frozen=True)
class Answer:
    """Whether one goal is kept, over all settings."""

    goal: str
    kept: Kept
    said: str
    """What was found, in a sentence."""
    claims: Mapping[str, tuple[str, ...]]
    """By what the figures say of it, the versions of the paper that claim it."""
    asked: bool = True
    """Whether any attack with the goal was asked for."""

    @property
    def about(self) -> str:
        return ASKED[self.goal]

    @property
    def short(self) -> str:
        return ANSWERS[self.kept]


@dataclass(frozen=True)
class Answers:
    """The answers of one protocol against one adversary."""

    protocol: str
    title: str
    adversary: str
    """As in a sentence."""
    settings: int
    answers: tuple[Answer, ...]


def verdicts(summaries: Sequence[Summary]) -> tuple[Answers, ...]:
    """Protocols whose paper claims something first, those under which nothing crosses last."""
    asked: dict[tuple[str, Adversary], list[Summary]] = {}
    for summary in summaries:
        asked.setdefault((summary.run.protocol, adversary_of(summary)), []).append(summary)
    goals = [*GOALS, MEMBERS] if any(summary.of(MEMBERS) for summary in summaries) else list(GOALS)
    return tuple(_answers(*key, group, goals) for key, group in sorted(asked.items(), key=lambda one: _rank(one[1])))


def _rank(group: Sequence[Summary]) -> tuple[bool, bool]:
    return all(summary.silent for summary in group), not any(summary.run.claims for summary in group)


def _answers(protocol: str, adversary: Adversary, group: Sequence[Summary], goals: Sequence[str]) -> Answers:
    answers = tuple(_answer(goal, group) for goal in goals)
    if adversary.more:  # what papers claim is about an honest-but-curious server that knows no labels
        answers = tuple(replace(answer, claims={}) for answer in answers)
    return Answers(protocol, group[0].run.title or protocol, str(adversary), len(group), answers)


def _answer(goal: str, group: Sequence[Summary]) -> Answer:
    found = [(summary, row) for summary in group if (row := summary.strongest(goal)) is not None]
    failed = sorted({attack(row) for summary in group for row in summary.unscored(goal) if row.status == "failed"})
    those = "it" if len(failed) == 1 else "them"
    lost = f" {listed(failed, 2)} failed, so nothing follows of {those}." if failed else ""
    kept: Kept = "not audited"
    said = "".join(_unscored(goal, group))
    for verdict in ("leaks", "inconclusive", "resists"):
        shown = [(summary, row) for summary, row in found if row.verdict == verdict]
        if shown:
            kept, said = verdict, _said(verdict, shown, len(group)) + lost
            break
    else:
        if found:
            kept, said = "inconclusive", f"Scored, but without a verdict.{lost}"
        elif all(summary.silent for summary in group):
            kept, said = "nothing crosses", ""
    if kept == "resists":
        kept = "inconclusive" if failed else kept
        said += "".join(_doubts([summary for summary, _ in found]))
    asked = bool(found) or any(summary.unscored(goal) for summary in group)
    return Answer(goal, kept, said, _claims(goal, group), asked)


def _doubts(group: Sequence[Summary]) -> Iterator[str]:
    """Why a goal that was not broken may be no merit of the protocol."""
    if any(summary.group.floor is not None and not summary.group.floor.reached for summary in group):
        yield " The model stayed below its utility floor."
    kinds = {kind for summary in group for kind in summary.unaudited}
    if kinds:
        yield f" No attack looked at {listed(sorted(map(words, kinds)), 2)}."


def _said(verdict: str, shown: Sequence[tuple[Summary, Row]], settings: int) -> str:
    if verdict == "resists":
        return f"The attacks here stayed at guessing{_where(shown, settings)}; others may not."
    summary, row = max(shown, key=lambda one: (one[1].advantage_low or 0.0, one[1].value or 0.0))
    does = READ.get((row.goal or "", row.metric or ""), f"{words(row.metric)} {{}}")
    blind = "" if row.blind is None else f"; {percent(row.blind)} by guessing"
    one = f", of victim {row.seed} alone" if summary.several and row.seed is not None else ""
    most = "Up to " if len(shown) > 1 and len({other.value for _, other in shown}) > 1 else ""
    return f"{most}{does.format(_percent(row))}{blind}{one}{_where(shown, settings)}."


def _percent(row: Row) -> str:
    if row.low is None or row.high is None:
        return percent(row.value)
    low, high = percent(row.low).removesuffix(" %"), percent(row.high).removesuffix(" %")
    return f"{percent(row.value)} [{low}, {high}]"


def _where(shown: Sequence[tuple[Summary, Row]], settings: int) -> str:
    """The settings for which an answer holds, where it does not hold for all."""
    if len(shown) == settings:
        return ""
    names = f" ({listed([summary.name for summary, _ in shown])})" if len(shown) < 3 else ""
    return f", in {len(shown)} of {settings} settings{names}"


def _unscored(goal: str, group: Sequence[Summary]) -> Iterator[str]:
    """Why a goal has no score."""
    rows = [row for summary in group for row in summary.unscored(goal)]
    reasons = {status: [row for row in rows if row.status == status] for status in ("failed", "not_applicable")}
    if reasons["failed"]:
        yield f"{listed(sorted({attack(row) for row in reasons['failed']}), 2)} failed, so nothing follows."
    elif rows and not reasons["not_applicable"]:
        yield "What the attacks here read never crosses."
    elif rows:
        yield "No attack here takes what crosses."
    else:
        yield "No attack here looked for it." if goal == "model" else "No attack here looked for them."


def _claims(goal: str, group: Sequence[Summary]) -> Mapping[str, tuple[str, ...]]:
    """What each version that claims the goal to be kept comes to: refuted by one setting under which it leaks."""
    versions: dict[str, list[str]] = {}
    for summary in group:
        for version, claims in summary.run.claims.items():
            if goal in (CLAIMED.get(claim, claim) for claim in claims):
                versions.setdefault(version, []).append(judgement(summary.of(goal)))
    judged: dict[str, tuple[str, ...]] = {}
    for version, found in versions.items():
        said = next(one for one in ("refuted", "not refuted", "not audited") if one in found)
        judged[said] = (*judged.get(said, ()), version)
    return judged
