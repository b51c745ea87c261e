"""What was forgotten is nowhere in the raw files, also where a process was killed while it forgot."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from sidelight.system.cache import durable, row_file
from sidelight.system.cache.disk import DiskCache
from sidelight.system.cache.row_file import RowFile
from sidelight.system.codec import Precision, through
from sidelight.system.errors import StoreFull

QUOTA = 1 << 24
IDS = [blake2b(bytes([i]), digest_size=8).hexdigest() for i in range(60)]
GONE, STAYS = IDS[::3], [sample_id for place, sample_id in enumerate(IDS) if place % 3]
ROWS = {
    # a page and a half each: the rest of the second page is what LMDB does not clear
    "activations": torch.randn(60, 1500, generator=torch.Generator().manual_seed(1)),
    "difference": torch.randn(60, 12, generator=torch.Generator().manual_seed(2)),
    "small": torch.randn(60, 500, generator=torch.Generator().manual_seed(3)),
}
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16}


def fill(folder: Path, precision: Precision, samples: int = 60) -> DiskCache:
    """Many small transactions, so that pages are used again and again."""
    cache = DiskCache(folder, QUOTA)
    for at in range(0, samples, 5):
        for kind, rows in ROWS.items():
            cache.put(kind, IDS[at : at + 5], rows[at : at + 5], precision)
    return cache


def pieces(ids: list[str], precision: Precision) -> numpy.ndarray:
    """All runs of eight bytes, aligned to four, of the samples' values, and the samples' ids, as integers."""
    places = [IDS.index(sample_id) for sample_id in ids]
    values = [rows[places].to(DTYPES[precision]).view(torch.uint8).numpy() for rows in ROWS.values()]
    runs = [sliding_window_view(raw, 8, axis=1)[:, ::4].reshape(-1, 8) for raw in values]
    named = numpy.frombuffer(bytes.fromhex("".join(ids)), numpy.uint8).reshape(-1, 8)
    return numpy.unique(numpy.ascontiguousarray(numpy.concatenate([*runs, named])).view(numpy.uint64))


def traces(folder: Path, ids: list[str], precision: Precision) -> int:
    """How many of those stand anywhere in the folder's files."""
    content = bytes(8) + b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    windows = numpy.ascontiguousarray(sliding_window_view(numpy.frombuffer(content, numpy.uint8), 8))
    return int(numpy.isin(pieces(ids, precision), windows.view(numpy.uint64)).sum())


def whole(cache: DiskCache, ids: list[str], precision: Precision = "fp16") -> bool:
    places = [IDS.index(sample_id) for sample_id in ids]
    return bool(ids) and all(
        torch.equal(cache.rows(kind, ids), through(rows[places], precision)) for kind, rows in ROWS.items()
    )


@pytest.mark.parametrize("precision", DTYPES)
def test_nothing_of_forgotten_samples_is_left_in_any_file(tmp_path: Path, precision: Precision) -> None:
    cache = fill(tmp_path, precision)
    assert traces(tmp_path, GONE, precision) == len(pieces(GONE, precision))
    cache.forget(GONE)
    assert traces(tmp_path, GONE, precision) == 0
    assert whole(cache, STAYS, precision)
    for kind, rows in ROWS.items():  # and nothing comes back out of memory with what is written next
        cache.put(kind, [f"{i:016x}" for i in range(30)], rows[:30].flip(1), precision)
    cache.forget([f"{i:016x}" for i in range(3)])
    assert traces(tmp_path, GONE, precision) == 0
    cache.forget(STAYS[5:])
    assert traces(tmp_path, [*GONE, *STAYS[5:]], precision) == 0
    assert whole(cache, STAYS[:5], precision)
    cache.clear()
    assert traces(tmp_path, IDS, precision) == 0
    cache.close()


def test_forgetting_all_samples_by_name_leaves_nothing(tmp_path: Path) -> None:
    cache = fill(tmp_path, "fp16")
    cache.forget(IDS)
    assert traces(tmp_path, IDS, "fp16") == 0
    assert cache.used == 0
    cache.close()


# --- killed at every line ----------------------------------------------------------------------------------------

CHANGING = {RowFile._change, RowFile._write_anew, RowFile._copy, RowFile.drop, durable.put_in_place, durable.sync}
CODES = {function.__code__ for function in CHANGING}
FEW = 15


def killed_at(line: int, folder: Path, gone: list[str]) -> None:
    """Forget, or clear, and die before a line that changes files, counted as they run."""
    cache = DiskCache(folder, QUOTA)
    assert cache.missing("small", IDS[:FEW]) == []
    left, passed = line, Counter[tuple[CodeType, int]]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code not in CODES:
            return None
        if event == "line":
            passed[frame.f_code, frame.f_lineno] += 1
            left -= passed[frame.f_code, frame.f_lineno] <= 2  # loops are killed in their first two rounds
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    if len(gone) < FEW:
        cache.forget(gone)
    else:
        cache.clear()
    sys.settrace(None)
    cache.close()


def after_a_kill(line: int, folder: Path, gone: list[str]) -> tuple[int | None, bool]:
    """How the process ended, and whether it was past the point of no return; fails where something is half done."""
    child = get_context("fork").Process(target=killed_at, args=(line, folder, gone))
    child.start()
    child.join()
    cache = DiskCache(folder, QUOTA)
    absent = cache.missing("small", IDS[:FEW])
    assert absent in ([], gone)
    assert all(cache.missing(kind, IDS[:FEW]) == absent for kind in ROWS)
    assert whole(cache, [sample_id for sample_id in IDS[:FEW] if sample_id not in absent]) or len(absent) == FEW
    if absent:
        assert traces(folder, absent, "fp16") == 0
    cache.close()
    return child.exitcode, bool(absent)


@pytest.mark.parametrize("gone", [IDS[:FEW:3], IDS[:FEW]], ids=["some", "everything"])
def test_a_kill_at_any_line_loses_nothing_else_and_leaves_no_trace(
    tmp_path: Path, gone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_file, "CHUNK", 10)
    template, folder = tmp_path / "template", tmp_path / "area"
    fill(template, "fp16", FEW).close()
    ends: list[tuple[int | None, bool]] = []
    while not ends or ends[-1][0] != 0:
        shutil.copytree(template, folder)
        ends.append(after_a_kill(len(ends), folder, gone))
        shutil.rmtree(folder)
    assert set(ends) == {(-signal.SIGKILL, False), (-signal.SIGKILL, True), (0, True)}


def test_where_the_disk_is_too_full_to_write_the_rest_anew_the_next_start_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = fill(tmp_path, "fp16")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(row_file, "put_in_place", full)
        with pytest.raises(StoreFull, match="No space left"):
            cache.forget(GONE)
        assert cache.missing("small", IDS) == GONE
        assert sorted(path.name for path in tmp_path.iterdir()) == [row_file.LOCK, row_file.NAME]
        cache.close()
        assert whole(cache, STAYS)  # a start with the disk still full
        cache.close()
    assert traces(tmp_path, GONE, "fp16") > 0
    assert whole(cache, STAYS)
    assert traces(tmp_path, GONE, "fp16") == 0
    assert cache.used == sum(len(STAYS) * (len(kind) + 9 + 2 * rows[0].numel()) for kind, rows in ROWS.items())
    cache.close()
