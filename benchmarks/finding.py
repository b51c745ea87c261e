"""What a benchmark found, as data and as Markdown: figures beside the bars that they are held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
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

    @property
    def model(self) -> str:
        """The backbone as a page has it: of a folder its name, not where it lies."""
        return _name(self.backbone)

    @property
    def texts(self) -> str:
        """The data, likewise."""
        return _name(self.data)


def _name(given: str) -> str:
    return Path(given).name if Path(given).exists() else given


@dataclass(frozen=True)
class Headline:
    """A figure that somebody claims or asks for, as it comes out here."""

    claim: str
    """What is claimed, and where."""
    found: float
    bar: float | None
    """What the figure must reach; None where nobody asks for anything."""
    note: str = ""
    """What bounds it and why it fell short, where it did."""
    at: Literal["least", "most"] = "least"
    """Whether the bar is the least or the most that the figure may be."""

    @property
    def reached(self) -> bool | None:
        if self.bar is None:
            return None
        return self.found >= self.bar if self.at == "least" else self.found <= self.bar

    def __str__(self) -> str:
        held = ""
        if self.bar is not None:
            held = f", {'reached' if self.reached else 'not reached'} (bar: at {self.at} {self.bar:.3g})"
        return f"{self.claim}: **{self.found:.3g}**{held}{'; ' + self.note if self.note else ''}"


@dataclass(frozen=True)
class Plot:
    """Figures along a size, to be drawn."""

    title: str
    x: str
    """What grows, with its unit."""
    y: str
    """What is measured, with its unit."""
    series: Mapping[str, Sequence[tuple[float, float]]]
    """By name, points of x and y, all of them above 0 where the scale is logarithmic."""
    logarithmic: bool = True
    """Both axes."""


@dataclass(frozen=True)
class Table:
    """Figures beside those of the main table."""

    title: str
    """Says so where they are modelled."""
    rows: Sequence[Mapping[str, Cell]]
    """Each with the same columns."""


@dataclass(frozen=True)
class Finding:
    """One benchmark's result."""

    name: str
    title: str
    kind: Literal["measured", "modelled", "derived"]
    """`derived`: from closed formulas that runs were held against."""
    about: str
    """What was run, on what, in a sentence or two."""
    headlines: Sequence[Headline]
    rows: Sequence[Mapping[str, Cell]]
    """Each with the same columns."""
    notes: Sequence[str] = ()
    """What a reader must know: what differs from the papers."""
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    """Behind the main one."""

    @property
    def missed(self) -> Sequence[Headline]:
        """The bars that were not reached."""
        return [one for one in self.headlines if one.reached is False]

    def as_json(self) -> dict[str, Any]:
        """Everything, with what was reached."""
        headlines = [{**asdict(one), "reached": one.reached} for one in self.headlines]
        tables = [{"title": one.title, **_in_order(one.rows)} for one in self.tables]
        return {**asdict(self), "headlines": headlines, **_in_order(self.rows), "tables": tables}

    def as_markdown(self) -> str:
        """A page of its own."""
        head = [f"# {self.title} ({self.kind})", "", self.about, ""]
        further = [line for one in self.tables for line in (f"## {one.title}", "", *_lines(one.rows))]
        return "\n".join([*head, *self._bars(), *_lines(self.rows), *further, *self._remarks()])

    def _bars(self) -> list[str]:
        return [*(f"- {one}" for one in self.headlines), ""] if self.headlines else []

    def _remarks(self) -> list[str]:
        return [*(f"- {note}" for note in self.notes), ""] if self.notes else []


def ended(found: Finding) -> int:
    """Print what a command found; the exit status, 1 where a bar was missed."""
    print(found.as_markdown())
    return 1 if found.missed else 0


def _in_order(rows: Sequence[Mapping[str, Cell]]) -> dict[str, Any]:
    """Rows for JSON, with their columns: an object of JSON has no order."""
    return {"columns": list(rows[0]) if rows else [], "rows": [dict(row) for row in rows]}


def _lines(rows: Sequence[Mapping[str, Cell]]) -> list[str]:
    if not rows:
        return []
    columns = list(rows[0])
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [*lines, *(f"| {' | '.join(shown(row[name]) for name in columns)} |" for row in rows), ""]


def shown(value: Cell) -> str:
    """A cell of a table: three digits of a real number, thousands set apart."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
