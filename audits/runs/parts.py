"""The victim's parts on disk, owner-only, so that every recorder deals with the same split."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...system import files
from ...system.data import Sample, Span, Split

NAMES = ("victim_train", "victim_test", "auxiliary", "non_member")


def save_parts(parts: Split, path: Path) -> None:
    """One row a line, with the part that it was dealt to; the labels come first."""
    rows = ({"part": name, **asdict(sample)} for name in NAMES for sample in getattr(parts, name))
    files.write_lines(path, [{"labels": list(parts.labels)}, *rows])


def load_parts(path: Path) -> Split:
    """The parts as they were saved."""
    first, *rows = files.read_lines(path)
    dealt: dict[str, list[Sample]] = {name: [] for name in NAMES}
    for row in rows:
        dealt[row.pop("part")].append(_sample(row))
    return Split(**{name: tuple(samples) for name, samples in dealt.items()}, labels=tuple(first["labels"]))


def _sample(row: dict[str, Any]) -> Sample:
    spans = tuple(Span(**span) for span in row["spans"])
    return Sample(row["id"], row["text"], row["label"], spans, row["random"], row["group"])
