"""Versions of stored formats: the number `schema`, which the first recordings have not everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import UsageError

FIRST = 1
"""What a file without a number has."""


def checked(stored: Any, path: Path, newest: int = FIRST) -> dict[str, Any]:
    """A stored JSON object whose schema is read here; UsageError where it is none, or was made by a newer Sidelight."""
    if not isinstance(stored, dict):
        raise UsageError(f"{path} holds no JSON object; give one, as docs/transcripts.md shows")
    schema = stored.get("schema", FIRST)
    if type(schema) is not int or schema < FIRST:
        raise UsageError(f"{path}: schema is no number of a format; give {_read(newest)}")
    if schema > newest:
        raise UsageError(
            f"{path} was made by a newer Sidelight (schema {schema}, and this one reads {_read(newest)}); "
            "upgrade, or record again with this version"
        )
    return stored


def _read(newest: int) -> str:
    return str(FIRST) if newest == FIRST else f"{FIRST} to {newest}"
