"""The figures of an audit that another one may have too, each under what makes it the same figure there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from ..findings.summarise import summarise
from ..findings.summary import Summary
from ..findings.wording import attack, words
from ..stored.records import Estimate
from ..stored.results import Audit
from ..stored.rows import Row

Key = tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A judged figure of an attack, or a utility."""

    label: str
    """The runs."""
    what: str
    value: Estimate
    advantage: Estimate | None = None
    """Over the stronger twin: it grows with the leak, whatever the metric does."""
    verdict: str = ""
    leakage: bool = True
    lower_is_more: bool = False
    """Whether a lower value tells of a greater leak."""


def figures(audit: Audit) -> Iterator[tuple[Key, Figure]]:
    """What an audit judged, and its utilities. A victim's own figure is never taken for one over victims."""
    for s in summarise(audit):
        for row in s.scored:
            yield (s.name, *_identity(row)), _judged(s, row)
        for victim, found in _utilities(s):
            named = f"utility ({s.measured}){f', victim {victim}' if s.several and victim is not None else ''}"
            yield (s.name, "utility", s.measured, str(victim)), Figure(s.name, named, found, leakage=False)


def _identity(row: Row) -> Iterator[str]:
    """The best of several attacks is one figure, whichever attacks it was chosen from."""
    yield json.dumps([row.attack, row.settings, row.goal, row.metric, row.adversary, row.seed], sort_keys=True)


def _judged(summary: Summary, row: Row) -> Figure:
    return Figure(
        label=summary.name,
        what=_what(summary, row),
        value=row,
        advantage=_advantage(row),
        verdict=row.verdict or "",
        lower_is_more=row.direction == "lower",
    )


def _advantage(row: Row) -> Estimate | None:
    """No surer than the value: it moves at least as far, and near the end of a scale a bootstrap is too narrow."""
    found = (row.advantage, row.advantage_low, row.advantage_high, row.value, row.low, row.high)
    if row.advantage is None or any(end is None for end in found):
        return None if row.advantage is None else Estimate(value=row.advantage)
    at, low, high, value, value_low, value_high = (float(end) for end in found if end is not None)
    return Estimate(value=at, low=min(low, at - (value - value_low)), high=max(high, at + (value_high - value)))


def _what(summary: Summary, row: Row) -> str:
    name = "best of the attacks" if row.is_best else attack(row)
    victim = f", victim {row.seed}" if summary.several and row.seed is not None else ""
    return f"{words(row.goal)}, {name}, {words(row.metric)}{victim}"


def _utilities(summary: Summary) -> Iterator[tuple[int | None, Estimate]]:
    """The one over victims where it has an interval, or else each victim's own."""
    over = summary.group.utility
    if summary.several and over is not None and over.low is not None:
        yield None, over
    else:
        yield from summary.utilities
