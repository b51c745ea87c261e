"""A whole budget held against a finished audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .budget import OF_RUNS, LeakageBudget, Limit
from .check import Check, Subject
from .evidence import Group, read_groups
from .of_rows import of_rows
from .of_runs import of_runs
from .offers import absent, idle, offers_of_audit


class Unaudited(NamedTuple):
    """What reached an adversary, and no scored attack with a goal that a limit asks for takes."""

    label: str
    goal: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What every limit came to."""

    budget: LeakageBudget
    checks: tuple[Check, ...]
    unaudited: tuple[Unaudited, ...]

    @property
    def kept(self) -> bool:
        return not self.broken

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.broken)

    def counts(self, limit: int) -> dict[str, int]:
        """Of one limit, how many checks came to each outcome."""
        return dict(Counter(check.outcome for check in self.checks if check.limit == limit))


def check_budget(out: Path, budget: LeakageBudget) -> Found:
    """Hold every limit against the compiled results of an audit."""
    groups, offers = read_groups(out), offers_of_audit(out)
    checks: list[Check] = []
    unaudited: list[Unaudited] = []
    for at, limit in budget.numbered():
        found = list(_checked(at, limit, groups))
        if not found:
            found = [_nothing(at, limit, idle(limit, offers) or "no row of the audit is selected")]
        elif why := absent(limit, offers):
            found.append(_nothing(at, limit, why))
        checks += found
        unaudited += _unaudited(found, limit, groups)
    return Found(budget, tuple(checks), tuple(dict.fromkeys(unaudited)))


def _checked(at: int, limit: Limit, groups: Sequence[Group]) -> Iterator[Check]:
    held = of_runs if limit.bound in OF_RUNS else of_rows
    for group in groups:
        if group.held(limit):
            yield from held(at, limit, group)


def _nothing(at: int, limit: Limit, why: str) -> Check:
    subject = Subject(adversary=limit.adversary or "", goal=limit.asked, attack=limit.attack, metric=limit.metric)
    return Check(at, limit.bound, limit.at, "not measured", subject, reason=why)


def _unaudited(found: Sequence[Check], limit: Limit, groups: Sequence[Group]) -> Iterator[Unaudited]:
    """By run and goal that a limit on rows looked at."""
    if limit.bound in OF_RUNS:
        return
    goals = {(check.subject.label, check.subject.goal) for check in found}
    for group in groups:
        for label, goal in sorted((label, goal) for label, goal in goals if goal and label == group.label):
            if kinds := group.unaudited(goal):
                yield Unaudited(label, goal, kinds)
