"""Where a benchmark's finding is kept: NAME.json with when, where and with what it was made, and NAME.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..system import files
from ..system.errors import UsageError
from .finding import Cell, Finding

LIBRARIES = ("sidelight", "torch", "transformers", "peft")
FORM = "sidelight-benchmark/1"
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Made:
    """A finding with when, where and with what it was made."""

    created: str
    """UTC, to the second."""
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    finding: Finding


def store(found: Finding, folder: Path) -> None:
    """Write both files, each whole."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "form": FORM,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "machine": machine(),
    }
    files.write_json(folder / f"{found.name}.json", {**about, **found.as_json()})
    files.write_text(folder / f"{found.name}.md", found.as_markdown())


def machine() -> dict[str, Any]:
    """What figures depend on, and nothing that tells whose machine it is; how many threads, each finding says."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory, MiB": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def holds_findings(folder: Path) -> bool:
    """Whether a folder is a benchmark's."""
    return folder.is_dir() and next(_kept(folder), None) is not None


def read_findings(folder: Path) -> tuple[Made, ...]:
    """Every finding in a folder, by name; a UsageError names the file that is wrong."""
    return tuple(_checked(path.name, value) for path, value in _kept(folder))


def _kept(folder: Path) -> Iterator[tuple[Path, Any]]:
    for path in sorted(folder.glob("*.json")):
        value = files.read_json(path)
        if isinstance(value, dict) and value.get("form") == FORM:
            yield path, value


def _checked(name: str, value: Mapping[str, Any]) -> Made:
    try:
        finding = TypeAdapter(Finding).validate_python(value)
        further = zip(finding.tables, value.get("tables", ()), strict=True)
        tables = [replace(one, rows=_ordered(one.rows, kept)) for one, kept in further]
        finding = replace(finding, rows=_ordered(finding.rows, value), tables=tables)
        return TypeAdapter(Made).validate_python({**value, "finding": finding})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the finding"
        raise UsageError(f"{name}: {field} is wrong ({first['msg']}); run `sidelight bench` again") from None


def _ordered(rows: Sequence[Mapping[str, Cell]], kept: Mapping[str, Any]) -> Sequence[Mapping[str, Cell]]:
    """Rows with their columns in the order in which they were kept."""
    columns = [name for name in kept.get("columns", ()) if all(name in row for row in rows)]
    return [{name: row[name] for name in columns} for row in rows]
