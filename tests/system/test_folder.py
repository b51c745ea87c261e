"""Files of tensors: whole or absent, and what a full disk says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from sidelight.system.errors import SidelightError
from sidelight.system.folder import read_tensors, write_tensors


def test_what_was_written_is_read_and_no_partial_is_left(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3.0)})
    assert read_tensors(tmp_path / "a.safetensors")["x"].tolist() == [0.0, 1.0, 2.0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_disk_that_takes_no_more_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("sidelight.system.folder.save_file", full)
    with pytest.raises(SidelightError, match=r"a\.safetensors cannot be written \(.*No space left.*see that the disk"):
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []
