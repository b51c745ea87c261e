"""Private files and folders: owner-only, whole or absent, text and JSON. Imports no tensor library."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from .errors import UsageError

PRIVATE = 0o700
LONGEST_LINE = 1 << 26
"""Bytes of a line that is read."""
_ON_ONE_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A partial folder to fill, renamed to `folder` when the block ends well and removed when it does not."""
    own = _own()
    partial = folder.with_name(f"{folder.name}.partial-{own}")
    partial.mkdir(parents=True, mode=PRIVATE)
    try:
        yield partial
        replaced = folder.with_name(f"{folder.name}.old-{own}")
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """A text file to write, put in the place of `path` when the block ends well."""
    partial = path.with_name(f"{path.name}.partial-{_own()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _own() -> str:
    """A name that no other writer has, not even one of the same number on another machine."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"


def write_text(path: Path, text: str) -> None:
    """Write a file whole, readable by its owner only."""
    with _replacing(path) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Write a file whole, one JSON value a line; of the values, one at a time is in memory."""
    with _replacing(path) as file:
        file.writelines(map(line_of, values))


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines to the end of a file that grows while its folder is being filled, readable by its owner only."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as file:
        file.writelines(lines)


def line_of(value: Any) -> str:
    """A value as one line of JSON."""
    return _ON_ONE_LINE.encode(value) + "\n"


def read_json(path: Path) -> Any:
    """The JSON value in a file; a UsageError names a file that is missing or damaged."""
    if not path.exists():
        raise UsageError(
            f"{path} is missing; give a folder that `sidelight record` or `audit` wrote, or one like those of "
            "docs/transcripts.md"
        )
    return parsed(path.read_bytes(), path)


def read_lines(path: Path) -> list[Any]:
    """The JSON values of a file that holds one a line; an absent file holds none, a damaged line is a UsageError."""
    return list(iterate_lines(path))


def iterate_lines(path: Path) -> Iterator[Any]:
    """As `read_lines`, with one line at a time in memory: an error comes when its line is reached."""
    return (value for _, _, value in located_lines(path))


def located_lines(path: Path) -> Iterator[tuple[int, int, Any]]:
    """The lines' numbers from 1, the bytes at which each begins, and their values; lines that are empty are left out.

    A line ends at a line feed only: JSON leaves other line separators unescaped inside a text.
    """
    if not path.exists():
        return
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), 1):
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                raise UsageError(f"{path} line {number} has more than {LONGEST_LINE} bytes; give shorter lines")
            if not line.isspace():
                yield number, start, parsed(line.removesuffix(b"\n"), path, number)
            start += len(line)


def parsed(data: bytes, path: Path, line: int | None = None) -> Any:
    """The JSON value in what was read of a file; a UsageError names the file and, where given, the line."""
    where = str(path) if line is None else f"{path} line {line}"
    try:
        return json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 ({error.reason}); record the run again") from None
    except ValueError as error:
        raise UsageError(f"{where} is not valid JSON ({error}); record the run again") from None
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply to be read; record the run again") from None
