"""The audit as a terminal table: one row a cell under a line for its run, then the paper's claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .answer import answer
from .claims import ClaimTable, claim_tables
from .records import Row
from .results import Audit, read_audit
from .summary import GOALS, Summary, summarise
from .wording import advantage, attack, count, estimate, number, words

STYLES = {
    "leaks": "bold red", "refuted": "bold red", "not audited": "red", "failed": "red", "inconclusive": "yellow",
    "resists": "green", "not refuted": "default",
}  # fmt: skip
HEADINGS = ("attack", "goal", "value", "blind\nout", "blind\nrest", "advantage", "verdict")
WIDE = (18, 6, 20, 6, 6, 22, 12)
NARROW = (9, 6, 17, 5, 5, 18, 12)
WIDE_FROM = 96
"""Columns of a terminal from which three digits fit."""


def print_table(out: Path, console: Console) -> None:
    """Print the table of a finished audit's folder."""
    show(read_audit(out), console)


def show(audit: Audit, console: Console) -> None:
    """Print the table, the claims and the answer."""
    summaries = summarise(audit)
    wide = console.width >= WIDE_FROM
    console.print(_table(wide))
    for summary in summaries:
        _show_run(summary, console, wide)
    for claims in claim_tables(summaries):
        _show_claims(claims, console)
    console.print()
    console.print(Text(" ".join(answer(audit, summaries))))
    console.print()


def _table(wide: bool, rows: Sequence[Row] | None = None) -> Table:
    """The heading alone, or rows without it: every run's rows stand in the same columns."""
    table = Table(box=None, show_header=rows is None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name, width in zip(HEADINGS, WIDE if wide else NARROW, strict=True):
        table.add_column(Text(name, justify="left"), width=width, overflow="fold")
    for row in rows or ():
        table.add_row(*_cells(row, 3 if wide else 2))
    return table


def _cells(row: Row, digits: int) -> Iterator[Text]:
    yield Text(attack(row))
    yield Text(words(row.goal))
    yield Text(estimate(row, digits))
    yield from (Text(number(twin.value if twin else None, digits)) for twin in (row.blind_outsider, row.blind_rest))
    yield Text(advantage(row, digits))
    yield Text(row.verdict or "no verdict", style=STYLES.get(row.verdict or "", ""))


def _show_run(summary: Summary, console: Console, wide: bool) -> None:
    console.print()
    console.print(_heading(summary))
    if summary.scored:
        console.print(_table(wide, summary.scored))
    for line in _notes(summary):
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _heading(summary: Summary) -> Text:
    run = summary.run
    line = Text(summary.name, style="bold")
    if run.utility is not None:
        line.append(f"   {words(run.utility.metric)} {number(run.utility.value)}", style="not bold")
    if run.floor is not None:
        missed = f" (floor {number(run.floor.value)} {'reached' if run.floor.reached else 'missed'})"
        line.append(missed, style="not bold" if run.floor.reached else "not bold red")
    if run.uplink_bytes_per_sample is not None:
        line.append(f"   {count(run.uplink_bytes_per_sample)} bytes/sample up", style="not bold")
    return line


def _notes(summary: Summary) -> Iterator[Text]:
    for row in summary.failed:
        why = row.reason or "no reason was stored"
        yield Text(f"failed: {attack(row)}, {words(row.goal)}: {why}", style=STYLES["failed"])
    for title, rows in (("not exposed", summary.not_exposed), ("not applicable", summary.not_applicable)):
        if rows:
            yield Text(f"{title}: {', '.join(map(attack, rows))}", style="dim")
    if summary.unaudited:
        yield Text(f"unaudited: {', '.join(map(words, summary.unaudited))}", style=STYLES["not audited"])
    if summary.silent:
        yield Text("nothing crosses", style="dim")
    elif summary.missing:
        yield Text(f"not audited: {', '.join(GOALS[goal] for goal in summary.missing)}", style=STYLES["not audited"])


def _show_claims(table: ClaimTable, console: Console) -> None:
    console.print()
    paper = ", ".join(part for part in (table.title, table.source) if part)
    console.print(Text(f"{paper}: the server does not learn ...", style="bold"))
    lines = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    for version, named in table.versions.items():
        for claim in named:
            for cells in _claim_lines(table, version, claim):
                lines.add_row(*cells)
    console.print(Padding(lines, (0, 0, 0, 2), expand=False))


def _claim_lines(table: ClaimTable, version: str, claim: str) -> Iterator[tuple[Text, Text, Text]]:
    """One line for each judgement, with the runs that it holds for."""
    runs: dict[str, list[str]] = {}
    for one in table.of(version, claim):
        runs.setdefault(one.judgement, []).append(one.run)
    for index, (judgement, names) in enumerate(runs.items()):
        head = Text("" if index else f"{version} {claim}")
        yield head, Text(judgement, style=STYLES[judgement]), Text(f"under {', '.join(names)}")
