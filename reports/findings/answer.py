"""The audit's answer in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from ..stored.results import Audit
from .claims import claim_tables
from .elsewhere import AND
from .summarise import beside
from .summary import ALL_GOALS, Summary
from .wording import count, listed, party

FEWEST_VICTIMS = 5
"""Victims that an interval over victims takes."""


def answer(audit: Audit, summaries: Sequence[Summary]) -> tuple[str, ...]:
    """What was learned, what is open, and how far the figures reach; the first sentence is the answer."""
    return (
        _learned(audit, summaries),
        *_strict(summaries),
        *_along_curves(audit),
        *_resisted(summaries),
        *_claims(summaries),
        *_open(audit, summaries),
        _reach(audit),
    )


def inputs(audit: Audit) -> str:
    """What the audit was made on, in a line."""
    data, backbone, victims = audit.head.data, audit.head.backbone, audit.head.victims
    rows = f" ({count(data.rows)} rows, {count(data.classes)} classes)" if data.rows else ""
    return f"{PurePath(data.name).name}{rows}, backbone {backbone.name}, {_counted(victims, 'victim')}"


def unrepeated(audit: Audit) -> str:
    """Why no command stands in the report that repeats its figures."""
    if audit.head.elsewhere:
        return "The recording was made elsewhere, so that no command here makes it again."
    return "The command that made this audit was not stored, so that none can be given that repeats its figures."


def _learned(audit: Audit, summaries: Sequence[Summary]) -> str:
    data, backbone = audit.head.data, audit.head.backbone
    rows = f" ({count(data.rows)} rows, {count(data.classes)} classes)" if data.rows else ""
    inputs = f"On {PurePath(data.name).name}{rows} and the backbone {backbone.name}"
    if not summaries:
        return f"{inputs} no protocol was audited at a single setting: what each attack found stands in its curve."
    if not any(summary.scored for summary in summaries):
        return f"{inputs} no attack has a score, so nothing follows about what was learned."
    where = f"{inputs}, {_adversary(summaries)}"
    leaking = ((said, _with(summaries, goal, "leaks")) for goal, said in ALL_GOALS.items())
    parts = [f"the {said} under {listed(names)}" for said, names in leaking if names]
    if not parts:
        listed_runs = " under the runs of the table" if audit.curves else ""
        return f"{where} was not shown to learn anything{listed_runs} beyond what can be guessed without the messages."
    joined = "; and ".join(["; ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
    return f"{where} learned {joined}."


def _adversary(summaries: Sequence[Summary]) -> str:
    names = {row.adversary for summary in summaries for row in summary.scored if row.adversary}
    if len(names) != 1:
        return "the adversary"
    return " and ".join(map(party, names.pop().split(AND)))


def _with(summaries: Sequence[Summary], goal: str, verdict: str) -> list[str]:
    return [s.name for s in summaries if (row := s.strongest(goal)) is not None and row.verdict == verdict]


def _strict(summaries: Sequence[Summary]) -> Iterator[str]:
    names = [
        summary.name
        for summary in summaries
        if any(row.metric == "random_row_accuracy" and row.verdict == "leaks" for row in summary.scored)
    ]
    if names:
        yield f"Even labels drawn by coin, which nothing but the messages can tell, were read under {listed(names)}."


def _along_curves(audit: Audit) -> Iterator[str]:
    """Points stand in no table, so that what leaks there would be told nowhere else."""
    points = [((c.label, c.setting, repr(p.x)), p.verdict) for c in audit.curves for p in c.points]
    leaking = {point for point, verdict in points if verdict == "leaks"}
    if leaking:
        yield f"Of the {_counted(len(dict(points)), 'point')} of the curves, {len(leaking)} leak."


def _resisted(summaries: Sequence[Summary]) -> Iterator[str]:
    for goal, words in ALL_GOALS.items():
        if names := _with(summaries, goal, "resists"):
            yield f"For the {words} under {listed(names)} the attacks here stayed at blind guessing; others may not."
        if names := _with(summaries, goal, "inconclusive"):
            yield f"For the {words} under {listed(names)} the figures do not decide."


def _claims(summaries: Sequence[Summary]) -> Iterator[str]:
    for table in claim_tables(summaries):
        refuted: dict[str, list[str]] = {}
        for one in table.claims:
            if one.judgement == "refuted" and one.version not in refuted.setdefault(one.claim, []):
                refuted[one.claim].append(one.version)
        if refuted:
            named = listed([f"{claim} ({', '.join(versions)})" for claim, versions in refuted.items()])
            yield f"Of what the paper of {table.title} claims to keep from the server, refuted: {named}."


def _open(audit: Audit, summaries: Sequence[Summary]) -> Iterator[str]:
    failed = sum(len(s.failed) for s in summaries)
    if failed:
        yield f"{_counted(failed, 'attack')} failed, so nothing follows about what {_it(failed)} would have found."
    if lost := _lost(audit):
        yield f"Beside the tables {listed(lost)} failed."
    unaudited = len({kind for s in summaries for kind in s.unaudited})
    if unaudited:
        them = _it(unaudited, "them")
        whom = "the server or a party beside it" if any(s.run.others for s in summaries) else "the server"
        yield f"{_counted(unaudited, 'kind')} of message or held item reached {whom} without an attack on {them}."
    for summary in summaries:
        if summary.incidents:
            yield f"Under {summary.name} training went on without some updates: {listed(list(summary.incidents))}."
    low = [s.name for s in summaries if s.group.floor is not None and not s.group.floor.reached]
    if low:
        yield f"Under {listed(low)} the model stayed below its utility floor: its leakage figures are weak evidence."


def _lost(audit: Audit) -> list[str]:
    """What failed among controls and points, counted."""
    controls = sum(row.role == "control" for row in beside(audit))
    drawn = sum(point.status == "failed" for curve in audit.curves if curve.primary for point in curve.points)
    points = drawn + len(beside(audit)) - controls
    return [_counted(number, noun) for number, noun in ((controls, "control"), (points, "point")) if number]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _it(number: int, several: str = "they") -> str:
    return "it" if number == 1 else several


def _reach(audit: Audit) -> str:
    victims = audit.head.victims
    if victims == 1:
        return "All figures are conditional on one victim: one draw of the data and one fine-tuning run."
    each = f"The audit has {victims} victims, each one draw of the data and one fine-tuning run"
    if victims < FEWEST_VICTIMS:
        return f"{each}; they stand apart, since an interval over victims takes at least 5 (`--seeds 5`)."
    return f"{each}; intervals are over victims."
