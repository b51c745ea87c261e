"""A transcript of any length is written and read with flat memory: the slow proof, in small."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.audits.proofs.transcript import MIB, Job, growth, measured, read, write
from sidelight.system.errors import SidelightError


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    """Both sizes fill more than one shard, so that what differs is what grows with the transcript."""
    return list(measured([10_000, 25_000]))


def test_each_size_is_written_read_and_checked_apart(jobs: list[Job]) -> None:
    assert [(job.name, job.messages) for job in jobs] == [
        ("write", 10_000), ("read", 10_000), ("check", 10_000),
        ("write", 25_000), ("read", 25_000), ("check", 25_000),
    ]  # fmt: skip
    # less than the interpreter with torch cannot be, more than half a gibibyte would be a held transcript
    assert all(50 * MIB < job.peak < 512 * MIB for job in jobs)


def test_fifteen_thousand_messages_more_take_less_than_sixteen_mebibytes_more(jobs: list[Job]) -> None:
    """Entries and tensors in lists would take 50 MiB more in writing and 30 in reading."""
    assert max(growth(jobs).values()) < 16 * MIB


def test_growth_is_the_difference_between_the_smallest_and_the_largest_size() -> None:
    small = [Job("write", 10, 1.0, 7), Job("read", 10, 1.0, 5), Job("check", 10, 1.0, 5)]
    large = [Job("write", 100, 1.0, 6), Job("read", 100, 1.0, 50), Job("check", 100, 1.0, 5)]
    assert growth([*small, *large]) == {"write": -1, "read": 45, "check": 0}


def test_a_transcript_that_is_not_the_one_written_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "view", 40)
    read(tmp_path / "view", 40)
    with pytest.raises(SidelightError, match="the transcript reads as"):
        read(tmp_path / "view", 41)
