"""Compiles stored runs and cells into what a report reads: results.jsonl, curves.jsonl, groups.jsonl.

Everything follows from the folder, so that it can be compiled again whenever the rules of evidence change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...attacks.attack import Goal
from ...system import files
from ..cells import cell as store
from ..cells.fields import stated
from ..planning.layout import load_layout
from ..statistics import Measured, PerfectTwin
from .curves import Curves
from .floors import describe_groups, set_floors
from .kept import promises_kept
from .prices import Prices
from .stating import Cells
from .tables import Families, Tables

Row = dict[str, Any]


def compile_results(out: Path) -> bool:
    """Write the compiled files; True where no row failed and no audit shows more than its run promised."""
    layout = load_layout(out)
    set_floors(out, [key for key in layout.runs if (out / "runs" / key / "run.json").exists()])
    prices = Prices(out, layout)
    groups = describe_groups(out, layout, prices)
    families, first = Families(), out / "results.unjudged.jsonl"
    cells = Cells(out, layout)
    files.write_lines(first, _noted(_priced(Tables(cells).rows(), prices), families))
    families.close()
    curves = Curves({group["group"]: group for group in groups})
    outcome = Outcome()
    files.write_lines(out / "results.jsonl", outcome.watch(_judged(first, families, curves)))
    first.unlink()
    files.write_lines(out / "curves.jsonl", curves.curves())
    files.write_lines(out / "groups.jsonl", groups)
    return outcome.whole and promises_kept(out, layout.runs)


def state_again(out: Path) -> None:
    """State the numbers of every cell again from its stored rows, those of votes after those of their voters."""
    layout, root = load_layout(out), out / "cells"
    for votes in (False, True):
        entries = [entry for entry in layout.entries if bool(entry.among) is votes]
        for key in dict.fromkeys(key for entry in entries for keys in entry.cells.values() for key in keys):
            if (root / key / "ids.json").exists() and (rows := store.read_rows(root, key)):
                files.write_json(root / key / "result.json", _restated(root, store.read(root, key), rows))


def _restated(root: Path, record: Row, rows: Mapping[str, Measured]) -> Row:
    fields = record["fields"]
    outcome: Row = {"status": "scored", "reason": fields["reason"] if fields["status"] == "scored" else None}
    metrics: list[Row] = []
    voters = [store.read(root, voter)["fields"]["status"] for voter in fields.get("voters", ())]
    try:
        metrics = stated([rows], Goal(fields["goal"]), fields["cell"])
    except PerfectTwin as error:
        outcome = {"status": "failed", "reason": str(error)}
    if any(status != "scored" for status in voters):
        outcome = {"status": "failed", "reason": "one of its voters has no score any more; run the audit again"}
    return {**record, "metrics": metrics, "fields": {**fields, **outcome}}


class Outcome:
    """Whether any row failed, seen while rows pass by."""

    def __init__(self) -> None:
        self.whole = True

    def watch(self, found: Iterator[Row]) -> Iterator[Row]:
        """The rows, unchanged."""
        for row in found:
            self.whole = self.whole and row["status"] != "failed"
            yield row


def _priced(found: Iterator[Row], prices: Prices) -> Iterator[Row]:
    for row in found:
        yield {**row, "price": prices.of(row["group"], row["seed"])}


def _noted(found: Iterator[Row], families: Families) -> Iterator[Row]:
    for row in found:
        families.add(row)
        yield row


def _judged(first: Path, families: Families, curves: Curves) -> Iterator[Row]:
    for row in files.iterate_lines(first):
        judged = families.judged(row)
        curves.add(judged)
        yield judged
