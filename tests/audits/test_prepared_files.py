"""What a preparing worker leaves is a stranger's: tensors and progress are checked before anybody believes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sidelight.audits.sandbox import prepared_files
from sidelight.audits.sandbox.guess_files import GuessError
from sidelight.audits.sandbox.prepared_key import prepared_key
from sidelight.audits.sandbox.preparing import Shelf, read_progress
from sidelight.audits.sandbox.workers import Limits, Workers
from sidelight.system import folder
from sidelight.system.public import load_public

from .conftest import Made, Run, ensured

LIMITS = Limits(seconds=60)


@pytest.mark.parametrize(
    "noted",
    [b"", b"[]", b'{"done": NaN, "total": 1.0}', b'{"done": 1.0, "total": 1e999}', b'{"done": -1.0, "total": 1.0}',
     b'{"done": 2.0, "total": 1.0}', b'{"done": "1", "total": 2.0}', b'{"total": 2.0}', b" " * 5000],
)  # fmt: skip
def test_progress_that_makes_no_sense_is_not_told(noted: bytes, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_bytes(noted)
    assert read_progress(tmp_path) is None
    (tmp_path / "progress.json").write_bytes(b'{"done": 1.0, "total": 2.0}')
    assert read_progress(tmp_path) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("link", r"prepared\.safetensors is not a plain file"),
        ("folder", r"prepared\.safetensors is not a plain file of its own"),
        ("text", r"prepared\.safetensors is malformed: SafetensorError"),
        ("none", r"the attack left no prepared\.safetensors"),
        ("list", "the attack prepared list; it must prepare a mapping of names to tensors"),
    ],
)
def test_what_is_no_file_of_tensors_is_refused_and_not_kept(
    kind: str, reason: str, workers: Workers, attack: Made, run: Run, tmp_path: Path
) -> None:
    target = run.truth / "weights.safetensors"
    folder.write_tensors(target, {"weights": torch.ones(2)})
    settings = {"kind": kind, "target": str(target)}
    plants = attack("Plants", **settings)
    for _ in range(2):  # whatever the first left behind
        shelf = Shelf(tmp_path / "shelf", workers, LIMITS)
        with pytest.raises(AssertionError, match=reason):
            ensured(shelf, plants, load_public(run.public), **settings)
    key = prepared_key(plants, settings, load_public(run.public), "")
    assert {path.name for path in (tmp_path / "shelf").iterdir()} == {f"{key}.lock", f"{key}.partial"}
    assert target.exists()


def test_too_large_too_many_and_too_long_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_tensors(tmp_path / "file", {"a": torch.ones(2), "long": torch.ones(2)})
    prepared_files.check(tmp_path / "file")
    for limit, reason in (
        ("LONGEST", "names of at most 1"),
        ("MOST", "at most 1 tensors"),
        ("LARGEST", "at most 1 are"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(prepared_files, limit, 1)
            with pytest.raises(GuessError, match=reason):
                prepared_files.check(tmp_path / "file")
