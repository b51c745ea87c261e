"""Data by name, file or `datasets` id, checked, cut to size, with a notice for whatever was changed."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UnknownName, UsageError
from .duplicates import folded, near_duplicate_groups
from .files import READERS, read_rows
from .hub import NotOnHub, OutOfReach, folder_rows, hub_rows
from .messages import generate
from .rows import MEMBER, OTHER, Dataset, Row, digest, labels_of
from .split import proportional

MESSAGES = "messages"
MESSAGES_ROWS = 6000
LONGEST_TEXT = 4000
"""Characters of a text that are kept."""

KNOWN = (MESSAGES, "FILE.jsonl", "FILE.csv", "OWNER/NAME of the Hugging Face hub")


def load(
    reference: str,
    generator: np.random.Generator,
    max_classes: int | None = None,
    max_rows: int | None = None,
) -> Dataset:
    """Load labelled texts.

    Args:
        reference: `messages` (generated), a `.jsonl` or `.csv` file, a folder that `datasets` can read, or a
            `datasets` id of the Hugging Face hub.
        generator: draws the generated messages and the rows that `max_rows` keeps.
        max_classes: keep the most frequent labels only; among equals the first by name.
        max_rows: keep this many rows, in proportion to the labels.

    Raises:
        UnknownName: a name that is neither known nor on the hub.
        UsageError: the data are not what they should be; the message names file and row.
    """
    _require_sizes(max_classes, max_rows)
    rows, source = _read(reference, generator, max_rows)
    rows, shortened = _shortened(_require_two_labels(rows, reference))
    rows, parted = _told_apart(rows, reference)
    notices = [*shortened, *parted, *_duplicates(rows)]
    rows, fewer = _most_frequent(rows, max_classes)
    rows, drawn = _subsample(rows, max_rows, generator)
    labels = labels_of(rows)
    return Dataset(_name(reference), digest(rows), tuple(rows), labels, (*notices, *fewer, *drawn), source)


def _require_sizes(max_classes: int | None, max_rows: int | None) -> None:
    for name, value in (("max_classes", max_classes), ("max_rows", max_rows)):
        if value is not None and value < 2:
            raise UsageError(f"{name} is {value}; it must be at least 2, since one label is nothing to tell apart")


def _read(reference: str, generator: np.random.Generator, max_rows: int | None) -> tuple[list[Row], Path | None]:
    """The rows with the local file or folder they came from."""
    if reference == MESSAGES:
        return list(generate(max(MESSAGES_ROWS, max_rows or 0), generator)), None
    if not reference.strip():
        raise UnknownName("data", reference, KNOWN)
    path = Path(reference).expanduser()
    if path.is_dir():
        return folder_rows(path), path
    if path.exists() or _looks_like_a_file(reference):
        return read_rows(path), path
    return _read_hub(reference)


def _looks_like_a_file(reference: str) -> bool:
    """A hub id has at most one slash and no file's ending."""
    endings = (*READERS, ".json", ".tsv", ".txt", ".parquet", ".xlsx")
    return reference.lower().endswith(endings) or reference.startswith((".", "~", os.sep)) or reference.count("/") > 1


def _read_hub(reference: str) -> tuple[list[Row], Path | None]:
    bare = "/" not in reference
    if bare and _near(reference):
        raise UnknownName("data", reference, KNOWN)
    try:
        return hub_rows(reference)
    except NotOnHub:
        if bare:
            raise UnknownName("data", reference, KNOWN) from None
        raise
    except OutOfReach:
        if bare:
            raise UnknownName("data (the Hugging Face hub is out of reach)", reference, KNOWN) from None
        raise


def _near(reference: str) -> bool:
    """A misspelling of a name that is known here need not be asked of the hub."""
    return bool(difflib.get_close_matches(reference, [MESSAGES], n=1, cutoff=0.75))


def _name(reference: str) -> str:
    path = Path(reference).expanduser()
    return f"{path.parent.name}/{path.name}".lstrip("/") if path.exists() else reference


def _require_two_labels(rows: list[Row], reference: str) -> list[Row]:
    if not rows:
        raise UsageError(f"data {reference} is empty; it must hold rows with 'text' and 'label'")
    if len(labels := labels_of(rows)) < 2:
        raise UsageError(
            f"data {reference}: all {len(rows)} rows have label {labels[0]!r}; at least 2 labels are needed"
        )
    return rows


def _shortened(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Cut very long texts, with the spans that no longer lie in them."""
    long = sum(len(row.text) > LONGEST_TEXT for row in rows)
    notice = f"{long} of {len(rows)} texts are longer than {LONGEST_TEXT:,} characters and were cut there."
    return [_cut(row) for row in rows], [notice] if long else []


def _cut(row: Row) -> Row:
    if len(row.text) <= LONGEST_TEXT:
        return row
    spans = tuple(span for span in row.spans if span.end <= LONGEST_TEXT)
    return Row(row.text[:LONGEST_TEXT], row.label, spans, row.pool, row.group)


def _told_apart(rows: list[Row], reference: str) -> tuple[list[Row], list[str]]:
    """Where rows say whether a released model was trained on them: without those that are near-duplicates across.

    Seen among all rows, before any is drawn: a row like one that was trained on is no fair stranger.
    """
    said = sum(row.pool in (MEMBER, OTHER) for row in rows)
    if not said:
        return rows, []
    if said < len(rows):
        raise UsageError(f"data {reference}: {said} of {len(rows)} rows have 'member'; give it to all rows, or to none")
    numbers = near_duplicate_groups(rows).tolist()
    sides = {pool: {n for n, row in zip(numbers, rows, strict=True) if row.pool == pool} for pool in (MEMBER, OTHER)}
    if not all(sides.values()):
        raise UsageError(f"data {reference}: 'member' is the same for all rows; give rows of both kinds")
    across = sides[MEMBER] & sides[OTHER]
    kept = [row for n, row in zip(numbers, rows, strict=True) if n not in across]
    inside = sum(n in across and row.pool == MEMBER for n, row in zip(numbers, rows, strict=True))
    outside = len(rows) - len(kept) - inside
    notice = f"{inside} members and {outside} others are near-duplicates of one another and were left out."
    return kept, [notice] if across else []


def _duplicates(rows: Sequence[Row]) -> list[str]:
    repeated = len(rows) - len({folded(row.text) for row in rows})
    notice = f"{repeated} of {len(rows)} texts repeat an earlier one but for case, spaces and digits; none are parted."
    return [notice] if repeated else []


def _most_frequent(rows: Sequence[Row], max_classes: int | None) -> tuple[list[Row], list[str]]:
    counts = Counter(row.label for row in rows)
    if max_classes is None or len(counts) <= max_classes:
        return list(rows), []
    kept = set(sorted(counts, key=lambda label: (-counts[label], label))[:max_classes])
    left = [row for row in rows if row.label in kept]
    notice = f"The {max_classes} most frequent of {len(counts)} labels were kept, with {len(left)} of {len(rows)} rows."
    return left, [notice]


def _subsample(
    rows: Sequence[Row], max_rows: int | None, generator: np.random.Generator
) -> tuple[list[Row], list[str]]:
    """Draw rows without replacement, as many of each label as its share, and keep their order."""
    if max_rows is None or len(rows) <= max_rows:
        return list(rows), []
    share = proportional(Counter(row.label for row in rows), max_rows)
    kept: list[int] = []
    for at in map(int, generator.permutation(len(rows))):
        if share[rows[at].label] > 0:
            share[rows[at].label] -= 1
            kept.append(at)
    return [rows[at] for at in sorted(kept)], [f"{max_rows} of {len(rows)} rows were drawn at random, by label."]
