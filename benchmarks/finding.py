"""What a benchmark found, as data and as Markdown: figures beside the bars that they are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Cell = str | int | float | None


@dataclass(frozen=True)
class Bench:
    """What a benchmark is run on."""

    backbone: str = "sidelight-tiny"
    data: str = "messages"
    seed: str = "benchmark"
    """Repeats the draw of data and weights; nothing is secret here."""
    say: Callable[[str], None] = lambda _line: None
    """Told each step in one line."""


@dataclass(frozen=True)
class Headline:
    """A figure that a paper claims, as it comes out here."""

    claim: str
    """What is claimed, and where."""
    found: float
    bar: float | None
    """What the figure must reach, larger being better; None where nobody claims one."""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        return None if self.bar is None else self.found >= self.bar

    def __str__(self) -> str:
        held = "" if self.bar is None else f", {'reached' if self.reached else 'not reached'} (bar {self.bar:.3g})"
        return f"{self.claim}: **{self.found:.3g}**{held}{'; ' + self.note if self.note else ''}"


@dataclass(frozen=True)
class Finding:
    """One benchmark's result."""

    name: str
    title: str
    kind: Literal["measured", "modelled"]
    about: str
    """What was run, on what, in a sentence or two."""
    headlines: Sequence[Headline]
    rows: Sequence[Mapping[str, Cell]]
    """Each with the same columns."""
    notes: Sequence[str] = ()
    """What a reader must know: what differs from the papers."""

    def as_json(self) -> dict[str, Any]:
        """Everything, with what was reached."""
        headlines = [{**asdict(one), "reached": one.reached} for one in self.headlines]
        return {**asdict(self), "headlines": headlines, "rows": [dict(row) for row in self.rows]}

    def as_markdown(self) -> str:
        """A page of its own."""
        head = [f"# {self.title} ({self.kind})", "", self.about, ""]
        return "\n".join([*head, *self._bars(), *self._table(), *self._remarks()])

    def _bars(self) -> list[str]:
        return [*(f"- {one}" for one in self.headlines), ""] if self.headlines else []

    def _table(self) -> list[str]:
        if not self.rows:
            return []
        columns = list(self.rows[0])
        lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        return [*lines, *(f"| {' | '.join(shown(row[name]) for name in columns)} |" for row in self.rows), ""]

    def _remarks(self) -> list[str]:
        return [*(f"- {note}" for note in self.notes), ""] if self.notes else []


def shown(value: Cell) -> str:
    """A cell of a table: three digits of a real number, thousands set apart."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
