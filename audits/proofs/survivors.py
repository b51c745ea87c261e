"""What of an audit's folder must survive a kill: finished runs, preparations and cells, unchanged and made once."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...system import files

RESULTS = {"runs": "run.json", "prepared": "prepared.json", "cells": "result.json"}
"""The file whose presence says that a run's, a preparation's or a cell's folder is finished."""
TIMES = frozenset({"seconds", "prepare_seconds", "peak_mib", "device_seconds_per_sample", "versions"})
"""Fields of a compiled row that may differ between two audits with one seed."""


class Stamp(NamedTuple):
    """A file that is written again has another inode or time, even where its content is the same."""

    inode: int
    changed: int
    """Nanoseconds."""
    digest: str


Stamps = Mapping[str, Mapping[str, Stamp]]
"""By finished folder, the stamps of its files, by their paths in it."""


def finished(out: Path) -> Stamps:
    """The finished folders under runs/, prepared/ and cells/."""
    return {
        f"{part}/{path.parent.name}": {
            str(file.relative_to(path.parent)): _stamp(file) for file in path.parent.rglob("*") if file.is_file()
        }
        for part, result in RESULTS.items()
        for path in out.glob(f"{part}/*/{result}")
        if not _half_written(path.parent)
    }


def _stamp(file: Path) -> Stamp:
    data = file.read_bytes()
    if file.name == RESULTS["runs"]:  # the utility floor is written into it when all runs are there
        content = {name: value for name, value in json.loads(data).items() if name != "floor"}
        return Stamp(0, 0, hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest())
    about = file.stat()
    return Stamp(about.st_ino, about.st_mtime_ns, hashlib.sha256(data).hexdigest())


@dataclass
class Watch:
    """Looks at an audit's folder again and again; folders that something happened to are noted by name."""

    out: Path
    lost: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    seen: Stamps = field(default_factory=dict)

    def look(self) -> None:
        """Compare with what was seen before."""
        now = finished(self.out)
        for folder, before in self.seen.items():
            after = now.get(folder)
            if after is None or not after.keys() >= before.keys():
                self.lost.add(folder)
            elif any(after[file].digest != before[file].digest for file in before):
                self.changed.add(folder)
            elif any(after[file] != before[file] for file in before):
                self.repeated.add(folder)
        self.seen = {**self.seen, **now}


def left_over(out: Path) -> list[Path]:
    """What is half-written or replaced, and should be gone when an audit is done."""
    return [path for path in out.rglob("*") if _half_written(path)]


def _half_written(path: Path) -> bool:
    return ".partial" in path.name or ".old-" in path.name


def differing(one: Path, other: Path) -> int:
    """Rows of the compiled files that differ between two audits by more than times and versions."""
    return sum(
        row != there
        for name in sorted({path.name for out in (one, other) for path in out.glob("*.jsonl")})
        for row, there in _paired(one / name, other / name)
    )


def _paired(one: Path, other: Path) -> list[tuple[Any, Any]]:
    pairs: dict[int, list[Any]] = defaultdict(lambda: [None, None])
    for side, path in enumerate((one, other)):
        for at, row in enumerate(files.iterate_lines(path)):
            pairs[at][side] = _untimed(row)
    return [(here, there) for here, there in pairs.values()]


def _untimed(value: Any) -> Any:
    if isinstance(value, list):
        return [_untimed(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {name: _untimed(inner) for name, inner in value.items() if name not in TIMES}
