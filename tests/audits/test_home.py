"""The folder of an audit: what a kill left half-written goes, what is finished or goes on later stays."""

from __future__ import annotations

from pathlib import Path

from sidelight.audits.planning.home import clear_half_written, held, mark, marked

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
