"""Private files and folders: owner-only, whole or absent, text and JSON. Imports no tensor library."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UsageError

PRIVATE = 0o700


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A partial folder to fill, renamed to `folder` when the block ends well and removed when it does not."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=PRIVATE)
    try:
        yield partial
        replaced = folder.with_name(f"{folder.name}.old-{os.getpid()}")
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a file whole, readable by its owner only."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_lines(path: Path, values: Iterable[Any]) -> None:
    write_text(path, "".join(json.dumps(v, ensure_ascii=False, allow_nan=False) + "\n" for v in values))


def read_json(path: Path) -> Any:
    """The JSON value in a file; a UsageError names a file that is missing or damaged."""
    if not path.exists():
        raise UsageError(f"{path} is missing; give a folder that `sidelight record` or `audit` wrote")
    return _parsed(_text(path), str(path))


def read_lines(path: Path) -> list[Any]:
    """The JSON values of a file that holds one a line; an absent file holds none, a damaged line is a UsageError."""
    if not path.exists():
        return []
    # not splitlines, which also splits at the line separators that JSON leaves unescaped inside a text
    lines = _text(path).split("\n")
    return [_parsed(line, f"{path} line {number}") for number, line in enumerate(lines, 1) if line]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 ({error.reason}); record the run again") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{where} is not valid JSON ({error}); record the run again") from None
