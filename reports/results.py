"""What an audit left in its folder, read and checked: the only input of every report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from ..system.errors import UsageError
from ..system.files import read_json, read_lines
from .records import Example, Head, Row, Run, Stored

Kept = TypeVar("Kept", bound=Stored)


@dataclass(frozen=True)
class Audit:
    """A whole audit."""

    head: Head
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    examples: Mapping[str, tuple[Example, ...]]
    """Private examples by cell; none in a redacted audit."""
    redacted: bool = False


def read_audit(out: Path) -> Audit:
    """The audit in a folder; a UsageError says why a folder is none."""
    if not out.is_dir():
        raise UsageError(f"{out} is not a folder; give the folder that `sidelight audit --out` wrote")
    if not (out / "audit.json").is_file():
        raise UsageError(f"{out} is no audit (it holds no audit.json); give the folder that `sidelight audit` wrote")
    head = _checked(Head, read_json(out / "audit.json"), "audit.json")
    rows = tuple(_row(value, number) for number, value in enumerate(read_lines(out / "results.jsonl"), 1))
    if not rows:
        raise UsageError(f"the audit in {out} has no results yet; run `sidelight audit --out {out}` again to finish it")
    stored = [_checked(Run, read_json(path), f"runs/{path.parent.name}/run.json") for path in _run_files(out)]
    examples = {cell: _examples(out, cell) for cell in dict.fromkeys(row.cell for row in rows)}
    kept = {cell: found for cell, found in examples.items() if found}
    return Audit(head=head, runs=_in_order(stored, rows), rows=rows, examples=MappingProxyType(kept))


def _run_files(out: Path) -> list[Path]:
    return sorted((out / "runs").glob("*/run.json"))


def _row(value: Any, number: int) -> Row:
    row = _checked(Row, value, f"results.jsonl line {number}")
    return row.model_copy(update={"stored": MappingProxyType(value)})


def _examples(out: Path, cell: str) -> tuple[Example, ...]:
    path = out / "cells" / cell / "examples.jsonl"
    return tuple(_checked(Example, value, f"cells/{cell}/examples.jsonl") for value in read_lines(path))


def _in_order(stored: list[Run], rows: tuple[Row, ...]) -> tuple[Run, ...]:
    """Runs as the results name them first; a run of which only rows are left is shown too."""
    known = {run.run: run for run in stored}
    named = {row.run: known.get(row.run) or _from_row(row) for row in rows}
    return tuple((named | {name: run for name, run in known.items() if name not in named}).values())


def _from_row(row: Row) -> Run:
    return Run(run=row.run, protocol=row.protocol, label=row.label, victim=row.seed or 0, recorded=False)


def _checked(model: type[Kept], value: Any, where: str) -> Kept:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the record"
        raise UsageError(f"{where}: {field} is wrong ({first['msg']}); run the audit again with this version") from None
