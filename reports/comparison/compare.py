"""What changed from one audit to another: leakage, utilities and bytes that both have, and what only one has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..findings.summarise import summarise
from ..stored.results import Audit
from .difference import Difference, difference, holm
from .figures import Figure, Key, figures
from .made import made_differently

LEVEL = 0.05


@dataclass(frozen=True)
class Change:
    """One figure in both audits."""

    first: Figure
    second: Figure
    tested: str
    """What the change is of: the advantage, on which verdicts rest, where both have one, or else the value."""
    difference: Difference | None
    """The second less the first; None where either has no interval."""
    p_holm: float | None = None

    @property
    def label(self) -> str:
        """The runs."""
        return self.first.label

    @property
    def what(self) -> str:
        return self.first.what

    @property
    def leakage(self) -> bool:
        """Whether it tells what an adversary learns; otherwise what the model is worth."""
        return self.first.leakage

    @property
    def verdicts(self) -> tuple[str, str]:
        return self.first.verdict, self.second.verdict

    @property
    def significant(self) -> bool:
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def turned(self) -> bool:
        """Whether the verdict is another."""
        return self.verdicts[0] != self.verdicts[1]

    @property
    def more(self) -> bool:
        """Whether the adversary learns more, or the model is worth more."""
        grew = self.difference is not None and self.difference.value > 0
        return grew != (self.tested == "value" and self.first.lower_is_more)


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
    def untested(self) -> tuple[Change, ...]:
        return tuple(one for one in self.changes if one.difference is None)

    @property
    def turned(self) -> tuple[Change, ...]:
        """Verdicts that differ while the figures do not by more than chance."""
        return tuple(one for one in self.changes if one.turned and not one.significant)


def compare(first: Audit, second: Audit, names: tuple[str, str]) -> Comparison:
    """Compare what both audits judged, Holm's correction over all of it."""
    before, after = dict(figures(first)), dict(figures(second))
    changes = [_change(before[key], after[key]) for key in before if key in after]
    return Comparison(
        names=names,
        set_up=tuple(made_differently(first, second)),
        changes=tuple(_corrected(changes)),
        moved=tuple(_moved(first, second)),
        only=(_missing(before, after), _missing(after, before)),
        redacted=first.redacted or second.redacted,
    )


def _missing(mine: dict[Key, Figure], other: dict[Key, Figure]) -> tuple[str, ...]:
    return tuple(f"{one.label}: {one.what}" for key, one in mine.items() if key not in other)


def _change(first: Figure, second: Figure) -> Change:
    if first.advantage is not None and second.advantage is not None:
        return Change(first, second, "advantage", difference(first.advantage, second.advantage))
    return Change(first, second, "value", difference(first.value, second.value))


def _corrected(changes: list[Change]) -> Iterator[Change]:
    adjusted = iter(holm([one.difference.p for one in changes if one.difference is not None]))
    for one in changes:
        yield one if one.difference is None else replace(one, p_holm=next(adjusted))


def _moved(first: Audit, second: Audit) -> Iterator[Moved]:
    """Bytes are exact: any difference is one."""
    after = {s.name: s for s in summarise(second)}
    for s in summarise(first):
        if (other := after.get(s.name)) is None:
            continue
        for direction in ("uplink", "downlink"):
            mine, theirs = getattr(s, direction), getattr(other, direction)
            if mine is not None and theirs is not None and mine != theirs:
                yield Moved(s.name, f"bytes {direction.removesuffix('link')} a sample", mine, theirs)
