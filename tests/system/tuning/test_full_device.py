"""A device whose disk is full: one sentence, nothing sent that was not kept, and the same model once there is room."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.system import command, files
from sidelight.system.cache import Cache
from sidelight.system.cache.disk import DiskCache
from sidelight.system.codec import Precision
from sidelight.system.errors import StoreFull
from sidelight.system.folder import read_tensors
from sidelight.system.progress import Progress
from sidelight.system.tuning.keeping import open_cache
from sidelight.system.tuning.tune import Surroundings, tune

from ...contracts.micro import Micro
from .small import Host, begun, carried_out, order, rows_csv

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


class Small(DiskCache):
    """A cache on a disk that takes five batches: those that are made before the first is sent, and one more."""

    left = 10

    def _write(self, kind: str, rows: Mapping[str, torch.Tensor], precision: Precision) -> None:
        if not self.left:
            raise StoreFull("the disk takes no more; make room on it")
        self.left -= 1
        super()._write(kind, rows, precision)


@contextmanager
def small(folder: Path) -> Iterator[Cache]:
    cache = Small(folder, 1 << 30)
    try:
        yield cache
    finally:
        cache.close()


def test_a_full_disk_is_said_and_with_room_the_same_model_comes_out(
    tmp_path: Path, micro: Micro, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_csv(tmp_path)
    asked, host = begun(order(tmp_path, micro)), Host()
    undisturbed = begun(replace(asked, out=tmp_path / "undisturbed"))
    assert carried_out(undisturbed, Host())
    write = files.write_json

    def full(path: Path, value: object) -> None:
        if path.name == "account.json":
            raise NO_ROOM
        write(path, value)

    around = Surroundings(host.open_wire, small, Progress(print))
    with monkeypatch.context() as patched:
        patched.setattr(Small, "_write", _then(Small._write, lambda: patched.setattr(files, "write_json", full)))
        with pytest.raises(StoreFull, match="make room"):
            tune(asked, around)
    assert not (asked.out / "summary.json").exists()
    assert not list(asked.out.rglob("*.partial*"))
    assert tune(asked, Surroundings(host.open_wire, open_cache, Progress(print)))
    own, other = (read_tensors(one.out / "model" / "model.safetensors") for one in (asked, undisturbed))
    assert all(torch.equal(own[name], other[name]) for name in own)
    first, second = host.sent("difference")
    assert first
    assert not first.keys() & second.keys()


def _then(write: object, full: object) -> object:
    """A `_write` that lets everything else be full as well, once the cache is."""

    def writing(self: Small, kind: str, rows: Mapping[str, torch.Tensor], precision: Precision) -> None:
        if not self.left:
            full()  # type: ignore[operator]
        write(self, kind, rows, precision)  # type: ignore[operator]

    return writing


def test_an_error_of_a_full_disk_without_a_name_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> object:
        raise NO_ROOM

    monkeypatch.setattr(command, "build", full)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == command.USAGE
    assert capsys.readouterr().err == "sidelight: the disk is full; make room, and give the same command again\n"
