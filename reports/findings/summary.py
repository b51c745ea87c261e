"""The rows of an audit put in order: for each group of runs what was attacked, what was not, and what leaked most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..stored.records import Budget, Example, Group, Run, Utility
from ..stored.rows import Row
from .wording import attack, bound, party, words

GOALS: Mapping[str, str] = {"labels": "labels", "texts": "texts", "model": "tuned model"}
"""Goals that each protocol is audited for, with the words for them."""
MEMBERS = "members"
ALL_GOALS: Mapping[str, str] = {**GOALS, MEMBERS: "training set's members"}
"""With one that an audit has only where it asks for it."""
PARTITION = "partition_accuracy"
_RANK = {"leaks": 2, "inconclusive": 1, "resists": 0}


@dataclass(frozen=True)
class Found:
    """An attack with the private examples of one of its cells."""

    row: Row
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Summary:
    """One group of runs with its rows by outcome."""

    group: Group
    runs: tuple[Run, ...]
    scored: tuple[Row, ...]
    """The judged metrics of each scored attack; of each goal the best of several attacks first."""
    other: tuple[Row, ...]
    """The other metrics of the scored attacks."""
    failed: tuple[Row, ...]
    not_exposed: tuple[Row, ...]
    not_applicable: tuple[Row, ...]
    consumed: frozenset[str]
    """What the scored attacks look at."""
    parts: Mapping[str, tuple[Row, ...]]
    """The victims' rows behind each row over victims, by its cell."""
    found: tuple[Found, ...]
    elsewhere: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By party and kind, the attacks that are scored on it in other runs of the protocol, under another adversary."""

    @property
    def name(self) -> str:
        return self.group.label

    @property
    def run(self) -> Run:
        """What all runs of the group have in common is told by the first that was recorded."""
        return next((run for run in self.runs if run.recorded), self.runs[0])

    @property
    def several(self) -> bool:
        """Whether the group has more than one victim."""
        return len(self.runs) > 1

    @property
    def shows(self) -> tuple[str, ...]:
        """What the adversary received or holds in any of the runs."""
        return tuple(dict.fromkeys(kind for run in self.runs for kind in run.shows))

    @property
    def samples(self) -> int | None:
        """Samples of all runs."""
        return sum(run.samples or 0 for run in self.runs) or None

    @property
    def uplink(self) -> float | None:
        """Bytes to the server a sample, in the mean over the runs."""
        return _mean(run.uplink_bytes_per_sample for run in self.runs)

    @property
    def downlink(self) -> float | None:
        return _mean(run.downlink_bytes_per_sample for run in self.runs)

    @property
    def defended(self) -> bool:
        """Whether there are defences, or another run that stands for the undefended one."""
        return bool(self.run.defences) or self.group.price is not None

    @property
    def promises(self) -> tuple[Budget, ...]:
        """What the defences promise, each as the run has it whose audit shows most."""
        every = zip(*(run.promises for run in self.runs if run.recorded), strict=True)
        return tuple(max(found, key=lambda one: one.audit.epsilon_low if one.audit else 0.0) for found in every)

    @property
    def majority(self) -> float | None:
        """What the majority class gives, in the mean over the runs."""
        return _mean(run.majority.value for run in self.runs if run.majority)

    @property
    def utilities(self) -> tuple[tuple[int, Utility], ...]:
        """Each victim's own utility."""
        return tuple((run.victim, run.utility) for run in self.runs if run.utility is not None)

    @property
    def measured(self) -> str:
        """What the utility is."""
        return words(next((found.metric for _, found in self.utilities), "accuracy"))

    @property
    def grouped(self) -> float | None:
        """The largest share of rows that an attack put with their like."""
        found = (row for row in (*self.scored, *self.other) if row.metric == PARTITION)
        return max((row.value for row in found if row.value is not None), default=None)

    @property
    def bound(self) -> str:
        """What must stand of the labels in a side network that the server holds, beside what attacks find."""
        held = [run.cached for run in self.runs if run.cached is not None]
        return bound(held, self.grouped) if held else ""

    def named(self, row: Row) -> str:
        """An attack, with its victim's number where the row is one victim's of several."""
        return f"{attack(row)}, victim {row.seed}" if self.several and row.seed is not None else attack(row)

    def of(self, goal: str) -> tuple[Row, ...]:
        return tuple(row for row in self.scored if row.goal == goal)

    def strongest(self, goal: str) -> Row | None:
        """The row that decides a goal, None where nothing was scored: one that leaks where any does."""
        return max(self.of(goal), key=strength, default=None)

    def other_game(self, goal: str) -> Row | None:
        """The strongest row of a goal by another metric than the one that decides it, None where there is none."""
        shown = self.strongest(goal)
        return max((r for r in self.of(goal) if shown and r.metric != shown.metric), key=strength, default=None)

    def picked(self, goal: str) -> bool:
        """Whether a goal's row was picked from several by the very rows that it is scored on."""
        row = self.strongest(goal)
        return row is not None and not row.is_best and len({r.cell for r in self.of(goal) if not r.is_best}) > 1

    def victims(self, row: Row) -> tuple[Row, ...]:
        """One victim's figures each behind a row over victims; a victim without any tells why."""
        return tuple(p for p in self.parts.get(row.cell, ()) if p.metric == row.metric or p.status != "scored")

    @property
    def unaudited(self) -> tuple[str, ...]:
        """What the adversary received or holds and no scored attack consumes, nor one elsewhere what others see."""
        seen = ((whose, kind) for whose, kinds in self.run.others.items() for kind in kinds)
        beside = (f"{kind} at {party(whose)}" for whose, kind in seen if (whose, kind) not in self.elsewhere)
        return (*(kind for kind in self.shows if kind not in self.consumed), *beside)

    @property
    def incidents(self) -> tuple[str, ...]:
        """Devices that came late, twice, with something else or not at all, in any of the runs."""
        found = (name for run in self.runs for noticed in run.incidents.values() for name in noticed)
        return tuple(dict.fromkeys(found))

    @property
    def missing(self) -> tuple[str, ...]:
        """Goals that no scored attack has."""
        return tuple(goal for goal in GOALS if not self.of(goal))

    def unscored(self, goal: str) -> tuple[Row, ...]:
        """The failed, not exposed and not applicable attacks of a goal."""
        return tuple(row for row in (*self.failed, *self.not_exposed, *self.not_applicable) if row.goal == goal)

    def consumers(self, kind: str) -> tuple[str, ...]:
        """The attacks with a score that consume a kind."""
        return tuple(dict.fromkeys(row.attack for row in self.scored if kind in row.consumes and not row.is_best))

    @property
    def silent(self) -> bool:
        """Whether nothing reached the adversary."""
        return self.run.recorded and not any(run.shows or run.traffic for run in self.runs)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def strength(row: Row) -> tuple[int, bool, bool, float, float]:
    """What rows are ordered by where one of them stands for all: the greatest leaks most surely."""
    rank = _RANK.get(row.verdict or "", -1)
    return rank, row.is_best, row.primary, _or_least(row.advantage_low), _or_least(row.value)


def _or_least(value: float | None) -> float:
    return float("-inf") if value is None else value
