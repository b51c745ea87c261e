"""How two audits were made differently: what a reader must know before a change is put down to the system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..findings.summarise import summarise
from ..findings.summary import Summary
from ..findings.wording import listed, setting, words
from ..stored.records import Stored
from ..stored.results import Audit

Differing = tuple[str, str, str]
"""What, in the first, in the second."""


def made_differently(first: Audit, second: Audit) -> Iterator[Differing]:
    """Suite, victims, inputs, versions, the settings of runs, and what the best attack was chosen from."""
    for name in ("suite", "victims"):
        yield from _differing(name, getattr(first.head, name), getattr(second.head, name))
    for name in ("data", "backbone"):
        one, other = getattr(first.head, name), getattr(second.head, name)
        yield from _differing(name, _called(one), _called(other))
    versions = {**first.head.versions, **second.head.versions}
    for name in versions:
        yield from _differing(name, first.head.versions.get(name), second.head.versions.get(name))
    runs = {s.name: s for s in summarise(second)}
    alike: dict[Differing, list[str]] = {}
    for s in summarise(first):
        for differs in _settings(s, runs[s.name]) if s.name in runs else ():
            alike.setdefault(differs, []).append(s.name)
    for (what, one, other), names in alike.items():
        yield f"{what} of {listed(names, 2)}", one, other


def _called(record: Stored) -> str:
    return " ".join(str(getattr(record, name)) for name in ("name", "digest"))


def _settings(first: Summary, second: Summary) -> Iterator[Differing]:
    for part in ("settings", "defences", "threat"):
        one: Mapping[str, object] = getattr(first.run, part)
        other: Mapping[str, object] = getattr(second.run, part)
        for name in dict.fromkeys((*one, *other)):
            yield from _differing(words(name), one.get(name), other.get(name))
    one_best, other_best = _among(first), _among(second)
    for goal in (goal for goal in one_best if goal in other_best):
        yield from _differing(f"what the best attack on {words(goal)} is chosen from", one_best[goal], other_best[goal])


def _among(summary: Summary) -> Mapping[str, tuple[str, ...]]:
    return {row.goal or "": tuple(sorted(row.among)) for row in summary.scored if row.is_best}


def _differing(what: str, one: object, other: object) -> Iterator[Differing]:
    if setting(one) != setting(other):
        yield what, setting(one), setting(other)
