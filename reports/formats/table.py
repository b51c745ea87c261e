"""The audit as a terminal table: one line an attack under a line for its runs, then claims, curves and the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..findings.answer import answer
from ..findings.claims import ClaimTable, claim_tables
from ..findings.remarks import ON_HALVES, controls, doubt, judged_on
from ..findings.summarise import beside, summarise
from ..findings.summary import GOALS, Summary
from ..findings.wording import advantage, attack, count, estimate, listed, loss, milliseconds, number, promise, words
from ..stored.results import Audit, read_audit
from ..stored.rows import Row
from .curve_table import curve_tables

STYLES = {
    "leaks": "bold red", "refuted": "bold red", "not audited": "red", "failed": "red", "inconclusive": "yellow",
    "resists": "green", "not refuted": "default",
}  # fmt: skip
HEADINGS = ("attack", "goal", "value", "blind\nout", "blind\nrest", "advantage", "verdict")
WIDTHS = (18, 7, 20, 6, 6, 23, 12)
NARROW_HEADINGS = ("attack", "goal", "value", "blind", "advantage", "verdict")
NARROW_WIDTHS = (14, 7, 17, 5, 20, 12)
WIDE_FROM = 98
"""Columns of a terminal from which both twins and three digits fit; below it stands the stronger twin."""


def print_table(out: Path, console: Console) -> None:
    """Print the table of a finished audit's folder."""
    show(read_audit(out), console)


def show(audit: Audit, console: Console) -> None:
    """Print the table, the claims, the curves and the answer."""
    summaries = summarise(audit)
    wide = console.width >= WIDE_FROM
    if summaries:
        console.print(_table(wide))
    for summary in summaries:
        _show_run(summary, console, wide)
    for claims in claim_tables(summaries):
        _show_claims(claims, console)
    for line in curve_tables(audit, STYLES, 3 if wide else 2):
        console.print(line)
    if lost := beside(audit):
        console.print()
    for row in lost:
        console.print(Text(_failed(f"{row.role} {row.label}, {attack(row)}", row), style=STYLES["failed"]))
    console.print()
    console.print(Text(" ".join(answer(audit, summaries))))
    console.print()


def _table(wide: bool, summary: Summary | None = None) -> Table:
    """The heading alone, or rows without it: all rows stand in the same columns."""
    table = Table(box=None, show_header=summary is None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    columns = zip(HEADINGS, WIDTHS, strict=True) if wide else zip(NARROW_HEADINGS, NARROW_WIDTHS, strict=True)
    for name, width in columns:
        table.add_column(Text(name, justify="left"), width=width, overflow="fold")
    if summary is not None:
        for row in summary.scored:
            table.add_row(*_cells(summary.named(row), row, wide))
    return table


def _cells(name: str, row: Row, wide: bool) -> Iterator[Text]:
    digits = 3 if wide else 2
    sides = (row.blind_outsider, row.blind_rest)
    known = [twin.value for twin in sides if twin is not None and twin.value is not None]
    blind = [twin.value if twin else None for twin in sides] if wide else [max(known, default=None)]
    full = name if row.primary or not row.judged else f"{name}, {judged_on(row)}"
    yield Text(_folded(full, (WIDTHS if wide else NARROW_WIDTHS)[0]))
    yield Text(words(row.goal))
    yield Text(estimate(row, digits))
    yield from (Text(number(value, digits)) for value in blind)
    yield Text(advantage(row, digits))
    yield Text(row.verdict or "no verdict", style=STYLES.get(row.verdict or "", ""))


def _folded(name: str, width: int) -> str:
    """A name on several lines that end at its commas, so that a victim keeps its number."""
    lines = [""]
    for part in re.split(r"(?<=,) ", name):
        joined = f"{lines[-1]} {part}".strip()
        lines[-1:] = [joined] if len(joined) <= width or not lines[-1] else [lines[-1], part]
    return "\n".join(lines)


def _show_run(summary: Summary, console: Console, wide: bool) -> None:
    console.print()
    console.print(_heading(summary))
    if summary.scored:
        console.print(_table(wide, summary))
    for line in _notes(summary):
        console.print(Padding(line, (0, 0, 0, 2), expand=False))


def _heading(summary: Summary) -> Text:
    line = Text(summary.name, style="bold")
    if summary.utilities:
        line.append(f"   {summary.measured} {_utility(summary)}", style="not bold")
    if (floor := summary.group.floor) is not None:
        missed = f" (floor {number(floor.value)} {'reached' if floor.reached else 'missed'})"
        line.append(missed, style="not bold" if floor.reached else "not bold red")
    if summary.uplink is not None:
        line.append(f"   {count(summary.uplink)} bytes/sample up", style="not bold")
    return line


def _utility(summary: Summary) -> str:
    """The group's utility, or each victim's where victims stand apart."""
    joined = summary.group.utility
    each = [joined] if joined is not None else [found for _, found in summary.utilities]
    return ", ".join(number(found.value) for found in each)


def _price(summary: Summary) -> Iterator[str]:
    """What the defences promise, and what they cost beside the undefended control."""
    yield from (f"promised: {promise(one)}" for one in summary.promises if not one.broken)
    if (price := summary.group.price) is not None:
        own, without = price.defended, price.undefended
        up = f"{count(own.uplink_bytes_per_sample)}, undefended {count(without.uplink_bytes_per_sample)}"
        spent = [milliseconds(side.device_seconds_per_sample) for side in (own, without)]
        yield f"utility loss {loss(price)}; bytes/sample up {up}; device ms/sample {spent[0]}, undefended {spent[1]}"
        if summary.bound:
            yield f"bound: {summary.bound}"


def _notes(summary: Summary) -> Iterator[Text]:
    yield from map(Text, _price(summary))
    yield from (Text(f"promised: {promise(one)}", style="bold red") for one in summary.promises if one.broken)
    yield from _beneath(summary)
    for row in summary.failed:
        yield Text(_failed(summary.named(row), row), style=STYLES["failed"])
    for title, rows in (("not exposed", summary.not_exposed), ("not applicable", summary.not_applicable)):
        if rows:
            yield Text(f"{title}: {', '.join(map(attack, rows))}", style="dim")
    if summary.unaudited:
        yield Text(f"unaudited: {', '.join(map(words, summary.unaudited))}", style=STYLES["not audited"])
    if summary.silent:
        yield Text("nothing crosses", style="dim")
    elif summary.missing:
        yield Text(f"not audited: {', '.join(GOALS[goal] for goal in summary.missing)}", style=STYLES["not audited"])


def _beneath(summary: Summary) -> Iterator[Text]:
    """What was chosen, which controls there were, and why a row is undecided."""
    for row in summary.scored:
        if row.is_best and row.primary:
            yield Text(f"{summary.named(row)}, {words(row.goal)}: {ON_HALVES}: {listed(list(row.chosen))}", style="dim")
        outcomes = "; ".join(f"{c.name} {c.value}" + (c.outcome and f": {c.outcome}") for c in controls(row, 2))
        if outcomes:
            failed = any(control.succeeded is False for control in row.controls.values())
            yield Text(
                f"controls of {summary.named(row)}, {judged_on(row)}: {outcomes}", style="red" if failed else "dim"
            )
        if why := doubt(row):
            yield Text(f"{summary.named(row)}, {judged_on(row)}: {why}", style="yellow")


def _failed(name: str, row: Row) -> str:
    goal = f", {words(row.goal)}" if row.goal else ""
    return f"failed: {name}{goal}: {row.reason or 'no reason was stored'}"


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
