"""Limits on an advantage or a value, held against the upper end of every row's interval.

Nothing is pooled: each row is held for itself, and so is each adversary, because a run has one. A limit asks for a
goal on every run that it takes in; where it finds no score there, nothing was measured, and that is no pass. Only what
never crosses passes without a score.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..cells.fields import DIRECTION, called
from .budget import Limit
from .check import Check, Outcome
from .evidence import Group, Row

QUANTITY: Mapping[str, tuple[str, str, str]] = {
    "max_advantage": ("advantage", "advantage_low", "advantage_high"),
    "max_value": ("value", "low", "high"),
}
UNSCORED: Mapping[str, Outcome] = {
    "not_exposed": "not exposed",
    "not_applicable": "not applicable",
    "failed": "failed",
}
FAILED = "the attack failed; the report says why"
"""In place of an error's own text, which may quote what is private."""


def of_rows(at: int, limit: Limit, group: Group) -> Iterator[Check]:
    """Every row of a group that a limit takes in, and each goal that it asks for in vain."""
    rows = [row for row in group.rows if row["role"] in limit.roles]
    taken = [row for row in rows if limit.takes(row["attack"], row["goal"])]
    for goal in _goals(limit, taken):
        ours = [row for row in taken if row["goal"] == goal]
        for victim in dict.fromkeys(row["seed"] for row in ours) or [None]:
            yield from _of_goal(at, limit, group, goal, [row for row in ours if row["seed"] == victim])


def _goals(limit: Limit, taken: Sequence[Row]) -> list[str | None]:
    """What must have been measured: a goal that is asked for, or whatever the attacks here have; an attack that is
    named, only where it ran."""
    found: list[str | None] = list(dict.fromkeys(row["goal"] for row in taken))
    return found or ([] if limit.attack else [limit.asked])


def _of_goal(at: int, limit: Limit, group: Group, goal: str | None, rows: Sequence[Row]) -> Iterator[Check]:
    counted = [row for row in rows if row["status"] == "scored" and _counts(limit, row)]
    unscored = [row for row in rows if row["status"] != "scored"]
    yield from (_held(at, limit, group, row) for row in counted)
    yield from (_unscored(at, limit, group, row) for row in unscored)
    statuses = {row["status"] for row in rows}
    if counted or "failed" in statuses:
        return
    blank = _blank(at, limit, group, goal, rows[0]["seed"] if rows else None)
    if not rows and group.silent:
        yield replace(blank, outcome="not exposed", reason="nothing reaches the adversary")
    elif statuses != {"not_exposed"}:
        yield replace(blank, reason=_why(limit, rows))
    elif (kinds := group.unaudited(goal)) and not limit.attack:
        yield replace(blank, reason=f"{', '.join(kinds)} reached the adversary, and no attack with this goal takes it")


def _counts(limit: Limit, row: Row) -> bool:
    return bool(row["metric"] == limit.metric if limit.metric else row["judged"] or row["primary"])


def _why(limit: Limit, rows: Sequence[Row]) -> str:
    if not rows:
        return "no attack has this goal"
    if any(row["status"] == "scored" for row in rows):
        return f"no attack has a score in {limit.metric or 'a metric that carries a verdict'}"
    return "no attack that the limit takes in applies"


def _held(at: int, limit: Limit, group: Group, row: Row) -> Check:
    value, low, high = (row[name] for name in QUANTITY[limit.bound])
    check = replace(_of_row(at, limit, group, row), value=value, low=low, high=high)
    if limit.bound == "max_value" and row["direction"] != DIRECTION:  # an advantage grows with the leak either way
        return replace(
            check, outcome="no interval", reason="lower values of this metric leak more; bound its advantage"
        )
    if high is None or low is None:
        return replace(check, outcome="no interval", reason=f"the row has no interval for {limit.bound}")
    return replace(check, outcome="within" if high <= limit.at else "exceeded")


def _unscored(at: int, limit: Limit, group: Group, row: Row) -> Check:
    reason = FAILED if row["status"] == "failed" else row["reason"]
    return replace(_of_row(at, limit, group, row), outcome=UNSCORED[row["status"]], reason=reason)


def _of_row(at: int, limit: Limit, group: Group, row: Row) -> Check:
    named: dict[str, Any] = {"goal": row["goal"], "attack": called(row), "metric": row["metric"]}
    return Check(at, limit.bound, limit.at, "failed", group.subject(row["seed"], **named))


def _blank(at: int, limit: Limit, group: Group, goal: str | None, victim: int | None) -> Check:
    """Nothing was measured, until something else is said."""
    named = {"goal": goal, "attack": limit.attack, "metric": limit.metric}
    return Check(at, limit.bound, limit.at, "not measured", group.subject(victim, **named))
