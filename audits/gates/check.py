"""What holding one limit against one row, one run or one gap comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Broken = Literal["exceeded", "missed", "no interval", "not measured", "failed"]
Outcome = Literal["within", "not exposed", "not applicable"] | Broken
BROKEN: frozenset[str] = frozenset(get_args(Broken))
"""Outcomes that break a budget: what was not measured is not within it."""


@dataclass(frozen=True)
class Subject:
    """What was held to a limit, as far as it is known: a whole row, a run, or a goal of a run."""

    protocol: str = ""
    label: str = ""
    adversary: str = ""
    known_labels: int = 0
    """Of each class, as the threat model has it."""
    goal: str | None = None
    attack: str | None = None
    """With the settings that differ from its defaults."""
    metric: str | None = None
    victim: int | None = None
    """Its number, where it stands for itself among several."""


@dataclass(frozen=True)
class Check:
    """One limit against one subject."""

    limit: int
    """Its number in the budget."""
    bound: str
    at: float
    outcome: Outcome
    subject: Subject
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """Of the quantity that is bounded, with its interval."""
    reason: str | None = None
    """Why there is no number, or what else was wrong; never an error's own text."""

    @property
    def broken(self) -> bool:
        return self.outcome in BROKEN

    @property
    def stored(self) -> dict[str, Any]:
        """As budget.json holds it."""
        own = {name: value for name, value in vars(self).items() if name != "subject"}
        return {**own, **vars(self.subject)}
