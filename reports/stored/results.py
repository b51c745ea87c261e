"""What an audit left in its folder, read and checked: the only input of every report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from ...system.errors import UsageError
from ...system.files import read_json, read_lines
from .records import Example, Group, Head, Held, Run, Stored
from .rows import Curve, Row

Kept = TypeVar("Kept", bound=Stored)
COMPILED = ("groups.jsonl", "curves.jsonl")
"""What is compiled from the cells beside results.jsonl."""


@dataclass(frozen=True)
class Audit:
    """A whole audit."""

    head: Head
    groups: tuple[Group, ...]
    runs: Mapping[str, Run]
    """Every run of every group, by its key."""
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    examples: Mapping[str, tuple[Example, ...]]
    """Private examples by stored cell, of one cell for each row of the table; none in a redacted audit."""
    redacted: bool = False
    budget: Held | None = None
    """The last leakage budget that was held against it."""
    command: str = ""
    """What repeats the whole audit, given an `--out`; empty where it was not stored."""


def read_audit(out: Path) -> Audit:
    """The audit in a folder; a UsageError says why a folder is none."""
    if not out.is_dir():
        raise UsageError(f"{out} is not a folder; give the folder that `sidelight audit --out` wrote")
    if (out / "plan.json").is_file() and not (out / "audit.json").is_file():
        raise UsageError(f"the audit in {out} is not finished; run `sidelight audit` with --out {out} again")
    if not (out / "audit.json").is_file():
        raise UsageError(f"{out} is no audit (it holds no audit.json); give the folder that `sidelight audit` wrote")
    head = _checked(Head, read_json(out / "audit.json"), "audit.json")
    if not (stored := read_lines(out / "results.jsonl")):
        raise UsageError(f"the audit in {out} has no results yet; run `sidelight audit --out {out}` again to finish it")
    for name in COMPILED:
        if not (out / name).is_file():
            raise UsageError(f"{out} holds no {name}, which this version reports from; run `sidelight judge {out}`")
    rows = tuple(_row(value, number) for number, value in enumerate(stored, 1))
    groups = _all(Group, out, "groups.jsonl")
    _refuse_unknown(groups, rows, out)
    return Audit(
        head=head,
        groups=groups,
        runs=MappingProxyType({run.run: run for group in groups for run in _runs(out, group)}),
        rows=rows,
        curves=_all(Curve, out, "curves.jsonl"),
        examples=MappingProxyType(dict(_examples(out, rows))),
        budget=_budget(out / "budget.json"),
        command=_command(out / "command.txt"),
    )


def _budget(path: Path) -> Held | None:
    return _checked(Held, read_json(path), path.name) if path.is_file() else None


def _command(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _row(value: Any, number: int) -> Row:
    row = _checked(Row, value, f"results.jsonl line {number}")
    return row.model_copy(update={"stored": MappingProxyType(value)})


def _all(model: type[Kept], out: Path, name: str) -> tuple[Kept, ...]:
    lines = enumerate(read_lines(out / name), 1)
    return tuple(_checked(model, value, f"{name} line {number}") for number, value in lines)


def _refuse_unknown(groups: Iterable[Group], rows: Iterable[Row], out: Path) -> None:
    known = {group.group for group in groups}
    for row in rows:
        if row.group not in known:
            lacking = f"results.jsonl has rows of {row.label} that groups.jsonl lacks"
            raise UsageError(f"{lacking}; run `sidelight judge {out}`")


def _runs(out: Path, group: Group) -> Iterator[Run]:
    """A group's runs; one that was never recorded is shown too."""
    for at, key in enumerate(group.runs):
        path = out / "runs" / key / "run.json"
        if path.is_file():
            yield _checked(Run, read_json(path), f"runs/{key}/run.json")
        else:
            victim = group.victims[at] if at < len(group.victims) else at
            yield Run(run=key, protocol=group.protocol, label=group.label, victim=victim, recorded=False)


def _examples(out: Path, rows: Iterable[Row]) -> Iterator[tuple[str, tuple[Example, ...]]]:
    """The examples of the first cell that has any behind each row of the table; others are not shown."""
    for stored in dict.fromkeys(row.cells or (row.cell,) for row in rows if row.role == "row"):
        for cell in stored:
            name = f"cells/{cell}/examples.jsonl"
            if found := tuple(_checked(Example, value, name) for value in read_lines(out / name)):
                yield cell, found
                break


def _checked(model: type[Kept], value: Any, where: str) -> Kept:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the record"
        raise UsageError(f"{where}: {field} is wrong ({first['msg']}); run the audit again with this version") from None
