"""What a confined process can still reach, tried in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidelight.audits.sandbox import confine, landlock

needs_landlock = pytest.mark.skipif(not landlock.support().abi, reason=landlock.support().reason)


def in_child(act: Callable[[], None]) -> bool:
    """Whether `act` is allowed in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except OSError:
            os._exit(1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 1)
    return code == 0


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("open", "closed", "scratch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name, encoding="ascii")
    return tmp_path


def allowed(folders: Path, act: Callable[[], object]) -> bool:
    def confined() -> None:
        landlock.restrict(landlock.support().abi, [folders / "open"], [folders / "scratch"])
        act()

    return in_child(confined)


@pytest.mark.parametrize(
    ("abi", "files", "tcp", "scopes"),
    # uapi/linux/landlock.h: 13 file rights in ABI 1, then refer (2), truncate (3), ioctl_dev (5); TCP (4); scopes (6)
    [(1, 13, 0, 0), (2, 14, 0, 0), (3, 15, 0, 0), (4, 15, 2, 0), (5, 16, 2, 0), (6, 16, 2, 2), (7, 16, 2, 2)],
)
def test_every_right_of_an_abi_is_taken_away(abi: int, files: int, tcp: int, scopes: int) -> None:
    assert landlock.handled(abi) == (2**files - 1, 2**tcp - 1, 2**scopes - 1)


@needs_landlock
def test_a_readable_folder_can_be_read_and_not_written(folders: Path) -> None:
    assert allowed(folders, (folders / "open/file").read_text)
    assert not allowed(folders, lambda: (folders / "open/file").write_text("changed", encoding="ascii"))
    assert not allowed(folders, (folders / "open/new").touch)


@needs_landlock
def test_scratch_can_be_written_and_what_lies_there_cannot_be_run(folders: Path) -> None:
    assert allowed(folders, lambda: (folders / "scratch/new").write_text("made", encoding="ascii"))
    (folders / "scratch/program").write_text("#!/bin/true\n", encoding="ascii")
    (folders / "scratch/program").chmod(0o700)
    assert not allowed(folders, lambda: os.execv(folders / "scratch/program", ["program"]))


@needs_landlock
def test_other_folders_can_neither_be_read_nor_listed_nor_linked(folders: Path) -> None:
    closed = folders / "closed/file"
    assert not allowed(folders, closed.read_text)
    assert not allowed(folders, lambda: list((folders / "closed").iterdir()))
    assert not allowed(folders, lambda: list(folders.iterdir()))
    assert not allowed(folders, lambda: (folders / "scratch/hard").hardlink_to(closed))
    assert not allowed(folders, lambda: closed.rename(folders / "scratch/moved"))


@needs_landlock
def test_a_symbolic_link_in_scratch_opens_nothing(folders: Path) -> None:
    (folders / "scratch/soft").symlink_to(folders / "closed/file")
    assert not allowed(folders, (folders / "scratch/soft").read_text)


@needs_landlock
def test_a_single_file_can_be_opened_up(folders: Path) -> None:
    def confined() -> None:
        landlock.restrict(landlock.support().abi, [folders / "closed/file", folders / "absent"], [])
        (folders / "closed/file").read_text(encoding="ascii")

    assert in_child(confined)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to lose")
def test_root_keeps_no_privilege_but_to_read(folders: Path) -> None:
    def confined() -> None:
        confine.restrict(0, [], folders)
        os.chown(folders / "closed/file", 1, 1)

    assert not in_child(confined)
