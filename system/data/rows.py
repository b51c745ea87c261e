"""The rows of a data set: what a person wrote, its label, and where the private parts stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MEMBER, OTHER = "member", "other"
"""Pools of rows that say whether a released model was trained on them."""


@dataclass(frozen=True)
class Span:
    """A slot or a piece of personal data: `text[start:end]`, in Python characters, end exclusive."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Row:
    """One labelled text as it was read or generated, before the data are split."""

    text: str
    label: str
    spans: tuple[Span, ...] = ()
    pool: str = ""
    """`victim` or `auxiliary` where the row may stand on that side only; empty: it may be dealt to either.

    `member` and `other` where the data say whether a released model was trained on it."""
    group: str = ""
    """Rows of the same non-empty group are never parted."""


@dataclass(frozen=True)
class Sample:
    """A row that was dealt to a part. Its id is drawn at random and says nothing about it."""

    id: str
    text: str
    label: str
    spans: tuple[Span, ...]
    random: bool = False
    """Whether a coin gave it a uniform label: see relabel.py."""
    group: str = ""
    """The row's, where it has one."""


@dataclass(frozen=True)
class Dataset:
    """Rows with what a report must say about them."""

    name: str
    digest: str
    """First 16 hexadecimal digits of the SHA-256 over the canonical rows."""
    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    """Sorted, each once."""
    notices: tuple[str, ...]
    """What was changed or noticed while reading, one sentence each, for the report."""
    source_path: Path | None
    """The local file or folder that holds the rows, which attack workers must not read; None if generated."""


def digest(rows: Sequence[Row]) -> str:
    """First 16 hexadecimal digits of the SHA-256 over the rows as one JSON array a line, in their order."""
    hashed = hashlib.sha256()
    for row in rows:
        spans = [[span.start, span.end, span.kind] for span in row.spans]
        fields = [row.text, row.label, spans, row.pool, row.group]
        hashed.update(json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
    return hashed.hexdigest()[:16]


def labels_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The labels in use, sorted."""
    return tuple(sorted({row.label for row in rows}))
