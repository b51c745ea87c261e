"""Protocols by attacks: what each attack came to on each group of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..stored.rows import Row
from .summary import ALL_GOALS, Summary, strength
from .wording import attack, estimate, words

RAN = ("scored", "failed")
COMPOSITE = "composite"
"""The harness's vote of the other attacks, which stands after them."""
STATUSES = ("failed", "not_exposed", "not_applicable")
"""Of an attack without a score, the first that holds for any of its settings."""


@dataclass(frozen=True)
class Square:
    """One attack, at its strongest setting, on one group of runs."""

    state: str
    """A verdict, `unjudged`, a status, or `absent` where the attack was not asked for."""
    value: float | None = None
    said: str = ""


@dataclass(frozen=True)
class Line:
    """One group of runs."""

    name: str
    at: int
    """Its place among the summaries, from 1."""
    squares: tuple[Square, ...]
    unaudited: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    """All groups of runs by all attacks, these in the order of their goals."""

    goals: tuple[tuple[str, int], ...]
    """Goals in words, with how many attacks each has."""
    attacks: tuple[str, ...]
    lines: tuple[Line, ...]
    idle: tuple[str, ...]
    """Attacks that found nothing to read anywhere, and so have no column."""

    @property
    def unaudited(self) -> bool:
        """Whether anything crossed anywhere that no attack looked at."""
        return any(line.unaudited for line in self.lines)

    @property
    def opening(self) -> frozenset[int]:
        """The places of each goal's first attack."""
        return frozenset(sum(number for _, number in self.goals[:at]) for at in range(len(self.goals)))


def matrix(summaries: Sequence[Summary]) -> Matrix:
    """The matrix of an audit; a best of several is none of its attacks."""
    columns = [(goal, name) for goal in ALL_GOALS for name in _names(summaries, goal, RAN)]
    lines = tuple(
        Line(s.name, at, tuple(_square(s, goal, name) for goal, name in columns), s.unaudited)
        for at, s in enumerate(summaries, 1)
    )
    goals = {goal: sum(of == goal for of, _ in columns) for goal, _ in columns}
    every = [name for goal in ALL_GOALS for name in _names(summaries, goal, STATUSES)]
    shown = {name for _, name in columns}
    return Matrix(
        goals=tuple((ALL_GOALS[goal], number) for goal, number in goals.items()),
        attacks=tuple(name for _, name in columns),
        lines=lines,
        idle=tuple(name for name in dict.fromkeys(every) if name not in shown),
    )


def _names(summaries: Sequence[Summary], goal: str, statuses: Sequence[str]) -> list[str]:
    rows = (row for s in summaries for row in _rows(s) if row.goal == goal and not row.is_best)
    return sorted({row.attack for row in rows if row.status in statuses}, key=lambda name: (name == COMPOSITE, name))


def _rows(summary: Summary) -> Iterator[Row]:
    yield from (*summary.scored, *summary.failed, *summary.not_exposed, *summary.not_applicable)


def _square(summary: Summary, goal: str, name: str) -> Square:
    rows = [row for row in _rows(summary) if (row.goal, row.attack) == (goal, name)]
    scored = [row for row in rows if row.status == "scored"]
    if scored:
        row = max(scored, key=strength)
        said = f"{attack(row)}, {words(row.metric)} {estimate(row)}, {row.verdict or 'no verdict'}"
        return Square(row.verdict or "unjudged", row.value, said)
    status = next((one for one in STATUSES if any(row.status == one for row in rows)), None)
    return (
        Square("absent", None, f"{name} was not asked for")
        if status is None
        else Square(status, None, f"{name}: {words(status)}")
    )
