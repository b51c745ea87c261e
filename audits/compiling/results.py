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
from ..cells.fields import without_numbers
from ..cells.judging import numbers
from ..digest import SCHEMA
from ..planning.layout import Layout, load_layout
from ..statistics import Measured, PerfectTwin
from .curves import Curves
from .evidence import Evidence
from .floors import describe_groups, set_floors
from .tables import Families, rows

Row = dict[str, Any]


def compile_results(out: Path) -> bool:
    """Write the compiled files; True where no row failed."""
    layout = load_layout(out)
    set_floors(out, [key for key in layout.runs if (out / "runs" / key / "run.json").exists()])
    groups = describe_groups(out, layout)
    families, first = Families(), out / "results.unjudged.jsonl"
    evidence = Evidence(out, layout)
    files.write_lines(first, _noted(rows(layout, evidence), families))
    families.close()
    curves = Curves(layout, {group["group"]: group for group in groups})
    outcome = Outcome()
    files.write_lines(out / "results.jsonl", outcome.watch(_judged(out, layout, first, families, curves)))
    first.unlink()
    files.write_lines(out / "curves.jsonl", curves.curves())
    files.write_lines(out / "groups.jsonl", groups)
    return outcome.whole


def state_again(out: Path) -> None:
    """State the numbers of every scored cell again from its stored rows."""
    layout, root = load_layout(out), out / "cells"
    for key in dict.fromkeys(key for entry in layout.entries for keys in entry.cells.values() for key in keys):
        if not (root / key / "result.json").exists():
            continue
        record = store.read(root, key)
        if record["fields"]["status"] == "scored":
            files.write_json(root / key / "result.json", _restated(record, store.read_rows(root, key)))


def _restated(record: Row, rows: Mapping[str, Measured]) -> Row:
    fields = record["fields"]
    try:
        return {**record, "metrics": list(numbers(rows, Goal(fields["goal"]), fields["cell"]))}
    except PerfectTwin as error:
        return {**record, "metrics": [], "fields": {**fields, "status": "failed", "reason": str(error)}}


class Outcome:
    """Whether any row failed, seen while rows pass by."""

    def __init__(self) -> None:
        self.whole = True

    def watch(self, found: Iterator[Row]) -> Iterator[Row]:
        """The rows, unchanged."""
        for row in found:
            self.whole = self.whole and row["status"] != "failed"
            yield row


def _noted(found: Iterator[Row], families: Families) -> Iterator[Row]:
    for row in found:
        families.add(row)
        yield row


def _judged(out: Path, layout: Layout, first: Path, families: Families, curves: Curves) -> Iterator[Row]:
    for row in files.iterate_lines(first):
        judged = families.judged(row)
        curves.add(judged)
        yield judged
    yield from unrecorded(out, layout)


def unrecorded(out: Path, layout: Layout) -> Iterator[Row]:
    """A failed row for each run that could not be recorded, so that no report leaves it out."""
    path = out / "unrecorded.json"
    reasons: Mapping[str, str] = files.read_json(path) if path.exists() else {}
    for group in layout.groups:
        for victim, key in group.runs.items():
            if not (out / "runs" / key / "run.json").exists():
                yield {
                    **without_numbers(),
                    "schema": SCHEMA,
                    "cell": key,
                    "run": key,
                    "group": group.group,
                    "role": group.role,
                    "protocol": group.protocol,
                    "label": group.label,
                    "attack": "recording",
                    "seed": victim,
                    "victims": [victim],
                    "status": "failed",
                    "reason": reasons.get(key, "the run was not recorded"),
                }
