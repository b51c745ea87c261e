"""One audit at a time in a folder, however the moments of two interleave."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from sidelight.audits.planning import home
from sidelight.audits.planning.home import held
from sidelight.system.errors import UsageError


def test_a_second_audit_is_kept_out(tmp_path: Path) -> None:
    with held(tmp_path / "out"), pytest.raises(UsageError, match=r"runs in .* already"), held(tmp_path / "out"):
        pass


def test_a_folder_in_which_nothing_began_is_left_as_it_was(tmp_path: Path) -> None:
    with held(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()
    assert not (tmp_path / "out").exists()


def test_a_lock_whose_name_was_removed_after_it_was_opened_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # another process held the folder, removed the lock's name and left, between our opening of it and our locking
    out, really, moments = tmp_path / "out", fcntl.flock, iter(range(9))

    def late(lock: int, how: int) -> None:
        if next(moments) == 0:
            (out / home.LOCK).unlink()
            out.rmdir()
        really(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with held(out):
        third = os.open(out / home.LOCK, os.O_RDWR)  # as a third audit opens it
        with pytest.raises(BlockingIOError):
            really(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(third)
