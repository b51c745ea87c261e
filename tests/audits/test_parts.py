"""The victim's parts on disk are what was dealt, and for the owner only."""

from __future__ import annotations

import stat
from pathlib import Path

from sidelight.audits.runs.parts import load_parts, save_parts
from sidelight.system.data import Sample, Span, Split


def sample(name: str, text: str, *spans: Span) -> Sample:
    return Sample(name, text, "yes", spans)


PARTS = Split(
    victim_train=(sample("a1", "call Ann", Span(5, 8, "NAME")), sample("a2", "two\nlines\u2028and \u00e9\u0000")),
    victim_test=(sample("b1", "test"),),
    auxiliary=(),
    non_member=(sample("d1", "other"),),
    labels=("no", "yes"),
)


def test_parts_come_back_as_they_were_dealt(tmp_path: Path) -> None:
    save_parts(PARTS, tmp_path / "parts.jsonl")
    assert load_parts(tmp_path / "parts.jsonl") == PARTS


def test_parts_are_for_the_owner_only(tmp_path: Path) -> None:
    save_parts(PARTS, tmp_path / "parts.jsonl")
    assert stat.S_IMODE((tmp_path / "parts.jsonl").stat().st_mode) == 0o600
