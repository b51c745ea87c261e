"""Rows from a JSONL or CSV file, refused with the file and the line where they are wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .check import checked_row
from .rows import Row

COLUMNS = ("text", "label")
MISSING = {"nan", "null"}
"""CSV has no null: these cells are what common writers put in its place."""


def read_rows(path: Path) -> list[Row]:
    """Read the rows of a `.jsonl` or `.csv` file.

    Raises:
        UsageError: with file and line, where the file or a row is not what it should be.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"data file {path} ends in {path.suffix!r}; it must end in .jsonl or .csv")
    if not path.is_file():
        raise UsageError(f"data file {path} does not exist; give a .jsonl or .csv file with 'text' and 'label'")
    records = reader(path, decoded(path))
    return [checked_row(record, f"{path} row {line}") for line, record in records]


def decoded(path: Path) -> str:
    """The whole file as text.

    Raises:
        UsageError: it cannot be read or is not UTF-8.
    """
    try:
        return (content := path.read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"data file {path} cannot be read ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path} row {line}: byte {content[error.start]:#04x} is not UTF-8; save as UTF-8") from None


def _json_records(path: Path, content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield number, _json_record(line, f"{path} row {number}")


def _json_record(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: malformed JSON ({error}); each line must hold one JSON object") from None
    if not isinstance(record, dict):
        raise UsageError(f"{place}: a JSON {type(record).__name__}; each line must hold an object with 'text', 'label'")
    return record


def _csv_records(path: Path, content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    lines = _csv_lines(reader, path)
    header_line, header = next(lines, (1, []))
    if content.strip() and not set(COLUMNS) <= set(header):
        raise UsageError(f"{path} row {header_line}: the header is {header}; it must name columns 'text' and 'label'")
    for line, cells in lines:
        if len(cells) > len(header):
            raise UsageError(f"{path} row {line}: {len(cells)} cells under {len(header)} columns; quote commas in text")
        yield line, {name: None if cell.lower() in MISSING else cell for name, cell in zip(header, cells, strict=False)}


def _csv_lines(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each with the line of the file on which it starts."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UsageError(f"{path} row {line}: malformed CSV ({error}); quote texts with commas or quotes") from None
        if cells:
            yield line, cells


READERS: dict[str, Callable[[Path, str], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".jsonl": _json_records,
    ".csv": _csv_records,
}
