"""The folder of an audit: half-written files go, finished ones stay, and one audit at a time is in it."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack
from pathlib import Path

import pytest

from sidelight.audits.planning.home import clear_half_written, held, mark, marked
from sidelight.system.errors import UsageError

HALF = (
    "audit.json.partial-7",
    "truth/seed.partial-7",
    "runs/pae-0.partial-7/view/manifest.json",
    "runs/pae-0/run.json.partial-7",
    "cells/pae-0-sign.old-7/result.json",
    "cells/pae-0-sign/result.json.partial-7",
    "scratch/guess/labels",
)
WHOLE = (
    "audit.json",
    "truth/seed",
    "runs/pae-0/run.json",
    "cells/pae-0-sign/result.json",
    "prepared/key.partial/bench/state",
)


def test_half_written_files_and_folders_go_and_all_else_stays(tmp_path: Path) -> None:
    for name in (*HALF, *WHOLE):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="ascii")
    clear_half_written(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(WHOLE)


def test_a_lock_is_marked_afresh_for_whoever_sees_the_same_folder(tmp_path: Path) -> None:
    with held(tmp_path):
        before, after = marked(tmp_path), marked(tmp_path)
        assert before != after == mark(tmp_path)
        assert len(after) == 32
    assert mark(tmp_path) is None  # no audit was begun here, so that nothing is left


def begins(out: Path) -> None:
    """An audit that holds a folder and does nothing."""
    with held(out):
        assert (out / "lock").exists()


@pytest.mark.parametrize("folder", ["there", "fresh"])
def test_an_audit_that_ends_while_two_begin_lets_one_of_them_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """The second has opened the lock when the first removes it; the third then holds a lock of the same name."""
    (tmp_path / "there").mkdir()
    out, lock, first, third = tmp_path / folder, fcntl.flock, ExitStack(), ExitStack()
    first.enter_context(held(out))

    def late(handle: int, how: int) -> None:
        monkeypatch.undo()
        first.close()
        third.enter_context(held(out))
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(UsageError, match=f"an audit runs in .*{folder} already"):
        begins(out)
    third.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["there"]


@pytest.mark.parametrize("folder", ["there", "fresh"])
def test_an_audit_that_opened_a_lock_which_another_then_removed_holds_a_lock_that_keeps_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "there").mkdir()
    out, lock, first = tmp_path / folder, fcntl.flock, ExitStack()
    first.enter_context(held(out))

    def late(handle: int, how: int) -> None:
        monkeypatch.undo()
        first.close()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with held(out), pytest.raises(UsageError, match="an audit runs in"):
        begins(out)


def test_a_second_audit_is_kept_out(tmp_path: Path) -> None:
    with held(tmp_path / "out"), pytest.raises(UsageError, match=r"runs in .* already"), held(tmp_path / "out"):
        pass


def test_a_folder_in_which_nothing_began_is_left_as_it_was(tmp_path: Path) -> None:
    with held(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()
    assert not (tmp_path / "out").exists()
