"""What a reader has to know of a row beside its figures: its controls, what stands behind it, why it is undecided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..stored.rows import REASSIGNED, Control, Judged, Roc, Row
from .wording import advantage, estimate, listed, number, p_value, seconds, words

LEAK = 0.05
"""The advantage above which an attack leaks."""
ON_HALVES = "chosen on one half of the rows, reported on the other"
GAMES = {"accuracy": "naming", "partition_accuracy": "grouping", "random_row_accuracy": "strict disclosure"}
"""The two games of the goal `labels`, and the grouping that needs no names, by metric."""


class Shown(NamedTuple):
    """A control in words."""

    name: str
    value: str
    advantage: str
    outcome: str
    """`succeeded`, `failed`, or nothing where there is nothing to succeed in."""


def game(row: Row) -> str:
    return GAMES.get(row.metric or "", "") if row.goal == "labels" else ""


def judged_on(row: Row) -> str:
    """What a row is judged on: the goal, or the rows that are judged beside its headline metric."""
    return words(row.goal) if row.primary or not row.judged else words(row.metric).removesuffix(" accuracy") + "s"


def controls(row: Row, digits: int = 3) -> tuple[Shown, ...]:
    """The row's controls: those of every defence in order, others by their names, the one that cannot fail last."""
    ranks = {name: rank for rank, name in enumerate(("undefended", "revealed", "weakest", "", REASSIGNED))}
    ordered = sorted(row.controls.items(), key=lambda item: ranks.get(item[0], ranks[""]))
    return tuple(_shown(name, control, digits) for name, control in ordered)


def _shown(name: str, control: Control, digits: int) -> Shown:
    named = {REASSIGNED: "labels reassigned", "revealed": "key revealed"}.get(name, words(name))
    value = "without a score" if control.value is None else estimate(control, digits)
    return Shown(named, value, "" if control.advantage is None else advantage(control, digits), _outcome(control))


def _outcome(control: Control) -> str:
    return "" if control.succeeded is None else "succeeded" if control.succeeded else "failed"


def doubt(row: Row) -> str:
    """Why a row whose interval would decide is undecided all the same, or decides less than it seems."""
    if row.advantage_low is None or row.advantage_high is None:
        return ""
    if row.verdict == "resists" and row.advantage_high < 0:
        return "worse than its blind twin, so that it says nothing of what a better attack would find"
    if row.verdict != "inconclusive":
        return ""
    if row.advantage_low > LEAK:
        return "no leak after Holm\N{RIGHT SINGLE QUOTATION MARK}s correction"
    return _uncontrolled(row) if row.advantage_high <= LEAK else ""


def _uncontrolled(row: Row) -> str:
    outcomes = {control.succeeded for control in row.controls.values()} - {None}
    if outcomes == {True}:
        return "the defence is known to be got around"
    return "a control failed" if outcomes else "no control"


def holm(row: Judged) -> str:
    """The p value after Holm's correction, where the row has one."""
    if row.p_holm is None:
        return ""
    shown = p_value(row.p_holm)
    return f"Holm p {shown}" if shown.startswith("<") else f"Holm p = {shown}"


def _ratio(roc: Roc) -> str:
    """What the threshold for 1 % of false positives really gave."""
    ratio = "" if roc.log_ratio is None else f"; ln(TPR/FPR) {number(roc.log_ratio, 2)}"
    amounts = f"epsilon {number(roc.epsilon, 2)} or more, were rows independent"
    return f"false positives {estimate(roc.false_positives)}{ratio}; {amounts}"


def behind(row: Row) -> Iterator[str]:
    """What stands behind the figures: how the best was chosen, who combined, what was prepared, what went wrong."""
    if row.is_best:
        yield f"{ON_HALVES}: {listed(list(row.chosen))}"
        yield f"among {', '.join(row.among)}"
    if row.roc is not None:
        yield _ratio(row.roc)
    if row.attack == "composite":
        yield "the harness combined the other guesses"
    if row.attacker_seeds > 1:
        yield f"mean over {row.attacker_seeds} seeds of the attacker"
    if row.prepare_seconds is not None:
        yield f"{seconds(row.prepare_seconds)} s of preparation, shared"
    if row.status == "scored" and row.reason:
        yield row.reason
