"""The rows of an audit put in order: for each run what was attacked, what was not, and what leaked most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .records import Example, Row, Run
from .results import Audit

GOALS: Mapping[str, str] = {"labels": "labels", "texts": "texts", "model": "tuned model"}
"""Goals that each run is audited for, with the words for them."""
_RANK = {"leaks": 2, "inconclusive": 1, "resists": 0}


@dataclass(frozen=True)
class Found:
    """An attack with its private examples."""

    row: Row
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Summary:
    """One run with its cells by outcome."""

    run: Run
    name: str
    """The run's label, with the victim's number where there are several."""
    scored: tuple[Row, ...]
    """The headline metric of each scored cell."""
    other: tuple[Row, ...]
    """The other metrics of the scored cells."""
    failed: tuple[Row, ...]
    not_exposed: tuple[Row, ...]
    not_applicable: tuple[Row, ...]
    unaudited: tuple[str, ...]
    """What the adversary received or holds and no scored cell consumes."""
    found: tuple[Found, ...]

    def of(self, goal: str) -> tuple[Row, ...]:
        return tuple(row for row in self.scored if row.goal == goal)

    def strongest(self, goal: str) -> Row | None:
        """The scored attack on a goal that leaks most, None where there is none."""
        return max(self.of(goal), key=_strength, default=None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Goals that no scored cell of the run has."""
        return tuple(goal for goal in GOALS if not self.of(goal))

    def unscored(self, goal: str) -> tuple[Row, ...]:
        """The failed, not exposed and not applicable cells of a goal."""
        return tuple(row for row in (*self.failed, *self.not_exposed, *self.not_applicable) if row.goal == goal)

    def consumers(self, kind: str) -> tuple[str, ...]:
        """The attacks with a score that consume a kind."""
        return tuple(dict.fromkeys(row.attack for row in self.scored if kind in row.consumes))

    @property
    def silent(self) -> bool:
        """Whether nothing reached the adversary."""
        return self.run.recorded and not self.run.shows and not self.run.traffic


def summarise(audit: Audit) -> tuple[Summary, ...]:
    """A summary of each run, in the audit's order."""
    several = len({run.victim for run in audit.runs}) > 1
    return tuple(_summary(audit, run, several) for run in audit.runs)


def _summary(audit: Audit, run: Run, several: bool) -> Summary:
    cells = _by_cell(row for row in audit.rows if row.run == run.run)
    heads = {cell: _headline(rows) for cell, rows in cells.items()}
    scored = tuple(row for row in heads.values() if row.status == "scored")
    consumed = {kind for row in scored for kind in row.consumes}
    return Summary(
        run=run,
        name=f"{run.label}, victim {run.victim}" if several else run.label,
        scored=scored,
        other=tuple(row for cell in cells for row in cells[cell] if row.status == "scored" and row is not heads[cell]),
        failed=_with_status(heads, "failed"),
        not_exposed=_with_status(heads, "not_exposed"),
        not_applicable=_with_status(heads, "not_applicable"),
        unaudited=tuple(kind for kind in run.shows if kind not in consumed),
        found=tuple(Found(row, audit.examples[row.cell]) for row in scored if row.cell in audit.examples),
    )


def _by_cell(rows: Iterable[Row]) -> dict[str, list[Row]]:
    cells: dict[str, list[Row]] = {}
    for row in rows:
        cells.setdefault(row.cell, []).append(row)
    return cells


def _headline(rows: list[Row]) -> Row:
    # a cell without a marked headline still shows: its first metric stands for it
    return next((row for row in rows if row.primary), rows[0])


def _with_status(heads: Mapping[str, Row], status: str) -> tuple[Row, ...]:
    return tuple(row for row in heads.values() if row.status == status)


def _strength(row: Row) -> tuple[int, float, float]:
    rank = _RANK.get(row.verdict or "", -1)
    return rank, _or_least(row.advantage_low), _or_least(row.value)


def _or_least(value: float | None) -> float:
    return float("-inf") if value is None else value
