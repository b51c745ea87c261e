"""What changed from one audit to another: rows, utilities and bytes that both have, and what only one has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..findings.summarise import summarise
from ..findings.summary import Summary
from ..findings.wording import attack, listed, setting, words
from ..stored.records import Estimate, Stored
from ..stored.results import Audit
from ..stored.rows import Row
from .difference import Difference, difference, holm

LEVEL = 0.05
Key = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One figure in both audits."""

    label: str
    """The runs."""
    what: str
    first: Estimate
    second: Estimate
    difference: Difference | None
    p_holm: float | None
    verdicts: tuple[str, str] = ("", "")

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def turned(self) -> bool:
        """Whether the verdict is another."""
        return self.verdicts[0] != self.verdicts[1]


@dataclass(frozen=True)
class Moved:
    """An exact number that differs."""

    label: str
    what: str
    first: float
    second: float

    @property
    def ratio(self) -> float | None:
        return self.second / self.first if self.first else None


@dataclass(frozen=True)
class Comparison:
    """Two audits side by side."""

    names: tuple[str, str]
    set_up: tuple[tuple[str, str, str], ...]
    """What differs in how they were made: what, in the first, in the second."""
    changes: tuple[Change, ...]
    moved: tuple[Moved, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    """Figures that only the first has, and only the second."""
    redacted: bool = False

    @property
    def significant(self) -> tuple[Change, ...]:
        return tuple(one for one in self.changes if one.significant)

    @property
    def turned(self) -> tuple[Change, ...]:
        """Verdicts that differ while the figures do not by more than chance."""
        return tuple(one for one in self.changes if one.turned and not one.significant)


def compare(first: Audit, second: Audit, names: tuple[str, str]) -> Comparison:
    """Compare what both audits judged, Holm's correction over all of it."""
    before, after = dict(_figures(first)), dict(_figures(second))
    both = [key for key in before if key in after]
    changes = [_change(key, before[key], after[key]) for key in both]
    tested = [one for one in changes if one.difference is not None]
    adjusted = dict(zip(map(id, tested), holm([one.difference.p for one in tested if one.difference]), strict=True))
    return Comparison(
        names=names,
        set_up=tuple(_set_up(first, second)),
        changes=tuple(_with(one, adjusted.get(id(one))) for one in changes),
        moved=tuple(_moved(first, second)),
        only=(_missing(before, after), _missing(after, before)),
        redacted=first.redacted or second.redacted,
    )


def _missing(mine: Mapping[Key, Estimate], other: Mapping[Key, Estimate]) -> tuple[str, ...]:
    return tuple(": ".join(key[:2]) for key in mine if key not in other)


def _with(change: Change, p_holm: float | None) -> Change:
    return Change(**{**vars(change), "p_holm": p_holm})


def _figures(audit: Audit) -> Iterator[tuple[Key, Estimate]]:
    """What an audit judged, and its utilities, by what makes them the same figure in another audit."""
    for s in summarise(audit):
        for row in s.scored:
            yield (s.name, _what(row), *_identity(s, row)), row
        if s.group.utility is not None:
            yield (s.name, f"utility ({s.measured})"), s.group.utility


def _what(row: Row) -> str:
    return f"{words(row.goal)}, {attack(row)}, {words(row.metric)}"


def _identity(summary: Summary, row: Row) -> Iterator[str]:
    victim = row.seed if summary.several else None
    yield json.dumps([row.attack, row.settings, row.goal, row.metric, row.adversary, victim], sort_keys=True)


def _change(key: Key, first: Estimate, second: Estimate) -> Change:
    verdicts = tuple(str(getattr(one, "verdict", None) or "") for one in (first, second))
    return Change(key[0], key[1], first, second, difference(first, second), None, (verdicts[0], verdicts[1]))


def _moved(first: Audit, second: Audit) -> Iterator[Moved]:
    """Bytes are exact: any difference is one."""
    after = {s.name: s for s in summarise(second)}
    for s in summarise(first):
        if (other := after.get(s.name)) is None:
            continue
        for what, mine, theirs in (
            ("bytes up a sample", s.uplink, other.uplink),
            ("bytes down a sample", s.downlink, other.downlink),
        ):
            if mine is not None and theirs is not None and mine != theirs:
                yield Moved(s.name, what, mine, theirs)


def _set_up(first: Audit, second: Audit) -> Iterator[tuple[str, str, str]]:
    """What a reader must know before a difference is put down to a change of the system."""
    plain = ("suite", "victims")
    for name in plain:
        yield from _differing(name, getattr(first.head, name), getattr(second.head, name))
    for name in ("data", "backbone"):
        one, other = getattr(first.head, name), getattr(second.head, name)
        yield from _differing(name, _called(one), _called(other))
    versions = {**first.head.versions, **second.head.versions}
    for name in versions:
        yield from _differing(name, first.head.versions.get(name), second.head.versions.get(name))
    runs = {s.name: s for s in summarise(second)}
    alike: dict[tuple[str, str, str], list[str]] = {}
    for s in summarise(first):
        for differs in _settings(s, runs[s.name]) if s.name in runs else ():
            alike.setdefault(differs, []).append(s.name)
    for (what, one, other), names in alike.items():
        yield f"{what} of {listed(names, 2)}", one, other


def _called(record: Stored) -> str:
    return " ".join(str(getattr(record, name)) for name in ("name", "digest"))


def _settings(first: Summary, second: Summary) -> Iterator[tuple[str, str, str]]:
    for part in ("settings", "defences", "threat"):
        one: Mapping[str, object] = getattr(first.run, part)
        other: Mapping[str, object] = getattr(second.run, part)
        for name in dict.fromkeys((*one, *other)):
            yield from _differing(words(name), one.get(name), other.get(name))


def _differing(what: str, one: object, other: object) -> Iterator[tuple[str, str, str]]:
    if setting(one) != setting(other):
        yield what, setting(one), setting(other)
