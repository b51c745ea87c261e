"""The cache on disk does what the one in memory does, outlives its process, and takes no more than its quota."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import stat
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import lmdb
import pytest
import torch

from sidelight.system.cache import Absent, Cache, MemoryCache
from sidelight.system.cache.disk import DiskCache
from sidelight.system.codec import Precision, through
from sidelight.system.errors import ProtocolError, SidelightError, StoreFull, UsageError

QUOTA = 1 << 20
KIND = "activations"
KEY = len(KIND) + 1 + 8
IDS = [f"{i:016x}" for i in range(40)]


def values(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ROWS = values(0, 40, 3, 8)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskCache]:
    cache = DiskCache(tmp_path / "area", QUOTA)
    yield cache
    cache.close()


def both(disk: DiskCache) -> tuple[Cache, Cache]:
    return disk, MemoryCache()


# --- as the one in memory ---------------------------------------------------------------------------------------


def test_rows_come_back_in_the_order_that_is_asked_for(disk: DiskCache) -> None:
    for cache in both(disk):
        cache.put(KIND, IDS[:10], ROWS[:10])
        cache.put("difference", IDS[:2], ROWS[:2, 0])
        assert torch.equal(cache.rows(KIND, [IDS[7], IDS[2], IDS[7]]), ROWS[[7, 2, 7]])
        assert torch.equal(cache.rows("difference", IDS[1::-1]), ROWS[[1, 0], 0])
        assert cache.missing(KIND, [IDS[12], IDS[3], IDS[11]]) == [IDS[12], IDS[11]]
        with pytest.raises(Absent) as absent:
            cache.rows(KIND, [IDS[12], IDS[3], IDS[11]])
        assert absent.value.ids == (IDS[12], IDS[11])
        with pytest.raises(Absent):
            cache.rows("logits", IDS[:1])


def test_what_is_there_stays_as_it_was(disk: DiskCache) -> None:
    for cache in both(disk):
        cache.put(KIND, IDS[:3], ROWS[:3])
        cache.put(KIND, IDS[1:5], ROWS[1:5])
        with pytest.raises(ProtocolError, match="other values"):
            cache.put(KIND, [IDS[9], IDS[4]], ROWS[[9, 9]])
        assert cache.missing(KIND, IDS[:10]) == IDS[5:10]
        assert torch.equal(cache.rows(KIND, IDS[:5]), ROWS[:5])


def test_forgotten_samples_are_gone_with_all_kinds_and_others_stay(disk: DiskCache) -> None:
    for cache in both(disk):
        cache.put(KIND, IDS[:4], ROWS[:4])
        cache.put("difference", IDS[:4], ROWS[:4, 0])
        cache.forget([IDS[1], IDS[3], IDS[20]])
        for kind, rows in ((KIND, ROWS), ("difference", ROWS[:, 0])):
            assert cache.missing(kind, IDS[:4]) == [IDS[1], IDS[3]]
            assert torch.equal(cache.rows(kind, [IDS[2], IDS[0]]), rows[[2, 0]])
        cache.put(KIND, IDS[1:2], ROWS[5:6])
        assert torch.equal(cache.rows(KIND, IDS[1:2]), ROWS[5:6])
        cache.clear()
        assert cache.missing(KIND, IDS) == IDS
        cache.put(KIND, IDS[:2], ROWS[:2, 0])  # another shape, since nothing is left of the old one
        assert torch.equal(cache.rows(KIND, IDS[:2]), ROWS[:2, 0])


def test_rows_of_any_shape(disk: DiskCache) -> None:
    whole = torch.tensor([[1 << 40, -3], [0, 7]])
    for cache in both(disk):
        cache.put("counts", IDS[:2], whole)
        cache.put("one", IDS[:2], ROWS[:2, 0, 0])
        cache.put("nothing", IDS[:2], torch.zeros(2, 0))
        assert torch.equal(cache.rows("counts", IDS[:2]), whole)
        assert torch.equal(cache.rows("one", IDS[1::-1]), ROWS[[1, 0], 0, 0])
        assert cache.rows("nothing", IDS[:2]).shape == (2, 0)


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "width"), [("fp32", 4), ("fp16", 2), ("int8", 4), ("int4", 4), ("int2", 4)])
def test_values_that_crossed_come_back_exactly_and_take_no_more_than_they_must(
    disk: DiskCache, precision: Precision, width: int
) -> None:
    crossed = through(ROWS, precision)
    disk.put(KIND, IDS, crossed, precision)
    assert torch.equal(disk.rows(KIND, IDS), crossed)
    assert disk.used == 40 * (KEY + 3 * 8 * width)


def test_values_that_are_yet_to_cross_are_kept_as_they_will(disk: DiskCache) -> None:
    disk.put(KIND, IDS, ROWS, "fp16")
    assert torch.equal(disk.rows(KIND, IDS), through(ROWS, "fp16"))
    disk.put(KIND, IDS, ROWS, "fp16")  # the same again
    with pytest.raises(ProtocolError, match="another precision"):
        disk.put(KIND, IDS[:1], ROWS[:1], "fp32")
    with pytest.raises(ProtocolError, match="another shape"):
        disk.put(KIND, IDS[:1], ROWS[:1, :2], "fp16")


@pytest.mark.parametrize("wrong", ["../../../etc/pass", "AB" * 8, "ab" * 7, "ab " * 8, ""])
def test_an_id_that_is_none_is_refused(disk: DiskCache, wrong: str) -> None:
    with pytest.raises(ProtocolError, match="hexadecimal"):
        disk.put(KIND, [wrong], ROWS[:1])
    with pytest.raises(ProtocolError, match="hexadecimal"):
        disk.missing(KIND, [wrong])


# --- what outlives the process -----------------------------------------------------------------------------------


def test_another_process_finds_what_was_put(tmp_path: Path) -> None:
    first = DiskCache(tmp_path / "area", QUOTA)
    first.put(KIND, IDS, ROWS, "fp16")
    used = first.used
    first.close()
    second = DiskCache(tmp_path / "area", QUOTA)
    assert torch.equal(second.rows(KIND, IDS), through(ROWS, "fp16"))
    assert second.used == used
    second.close()


def put_for_ever(folder: Path, start: int, said: int) -> None:
    """Put batches of four, and tell after each how many samples were put."""
    cache = DiskCache(folder, 1 << 30)
    for at in itertools.count(start, 4):
        ids = [f"{i:016x}" for i in range(at, at + 4)]
        cache.put(KIND, ids, torch.arange(at, at + 4.0)[:, None].expand(4, 700))
        os.write(said, b"%08d" % (at + 4))


def test_what_was_acknowledged_is_there_after_every_kill(tmp_path: Path) -> None:
    there = 0
    for after in (1, 2, 3, 5, 8, 1, 13, 2, 21, 4):
        here, said = os.pipe()
        child = get_context("fork").Process(target=put_for_ever, args=(tmp_path, there, said))
        child.start()
        os.close(said)
        with os.fdopen(here, "rb") as told:
            heard = told.read(8 * after)
            child.kill()
            heard += told.read()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        acknowledged = int(heard[-8:])
        assert acknowledged >= there + 4 * after
        cache = DiskCache(tmp_path, 1 << 30)
        ids = [f"{i:016x}" for i in range(acknowledged + 8)]
        there = len(ids) - len(cache.missing(KIND, ids))
        assert there in (acknowledged, acknowledged + 4)  # a whole batch more at most
        assert torch.equal(cache.rows(KIND, ids[:there])[:, 9], torch.arange(float(there)))
        cache.close()


def test_the_folder_is_private_and_has_one_owner(tmp_path: Path, disk: DiskCache) -> None:
    disk.put(KIND, IDS[:1], ROWS[:1])
    folder = tmp_path / "area"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    other = DiskCache(folder, QUOTA)
    with pytest.raises(UsageError, match="in use by another process"):
        other.rows(KIND, IDS[:1])
    disk.close()
    assert torch.equal(other.rows(KIND, IDS[:1]), ROWS[:1])
    other.close()


def test_a_damaged_file_is_named(tmp_path: Path, disk: DiskCache) -> None:
    disk.put(KIND, IDS, ROWS)
    disk.close()
    (tmp_path / "area" / "rows.mdb").write_bytes(b"no cache" * 2000)
    with pytest.raises(SidelightError, match=r"rows\.mdb is damaged"):
        disk.rows(KIND, IDS)


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_handle_is_left(tmp_path: Path) -> None:
    before = handles()
    cache = DiskCache(tmp_path, QUOTA)
    cache.put(KIND, IDS, ROWS)
    cache.forget(IDS[:3])
    assert handles() > before
    cache.close()
    assert handles() == before


# --- what it does not take ---------------------------------------------------------------------------------------


def test_the_quota_counts_values_and_keys_to_the_byte(tmp_path: Path) -> None:
    each = KEY + 3 * 8 * 4
    disk = DiskCache(tmp_path, 10 * each)
    disk.put(KIND, IDS[:8], ROWS[:8])
    with pytest.raises(StoreFull, match=f"{10 * each:,} bytes"):
        disk.put(KIND, IDS[6:11], ROWS[6:11])
    assert disk.missing(KIND, IDS[:11]) == IDS[8:11]
    disk.put(KIND, IDS[6:10], ROWS[6:10])
    assert disk.used == 10 * each
    disk.put(KIND, IDS[:10], ROWS[:10])  # again what is there takes nothing
    disk.forget(IDS[:1])
    disk.put(KIND, IDS[10:11], ROWS[10:11])
    assert torch.equal(disk.rows(KIND, IDS[1:11]), ROWS[1:11])
    disk.close()


def test_a_full_map_is_a_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidelight.system.cache.disk.OVERHEAD", 0)
    monkeypatch.setattr("sidelight.system.cache.disk.LEAST", 1 << 18)
    disk = DiskCache(tmp_path, 1 << 30)
    kept = fill(disk)
    assert kept * 4096 < 1 << 18
    disk.close()


def put_all(disk: DiskCache, ids: list[str], rows: torch.Tensor) -> None:
    for at in range(0, len(ids), 4):
        disk.put(KIND, ids[at : at + 4], rows[at : at + 4])


def fill(disk: DiskCache) -> int:
    """Put batches of four until no more is taken; how many samples are there then, all whole."""
    ids = [f"{i:016x}" for i in range(2000)]
    rows = values(1, 2000, 700)
    with pytest.raises(StoreFull, match="takes no more"):
        put_all(disk, ids, rows)
    with pytest.raises(StoreFull):
        disk.put(KIND, ids[-400:], rows[-400:])
    kept = len(ids) - len(disk.missing(KIND, ids))
    assert kept >= 4
    assert kept % 4 == 0
    assert torch.equal(disk.rows(KIND, ids[:kept]), rows[:kept])
    assert disk.used == kept * (KEY + 2800)
    return kept


def fill_small_disk(folder: Path) -> None:
    """A limit on the file's size stands for the disk's: the write fails in its midst."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))
    cache = DiskCache(folder, 1 << 30)
    kept = fill(cache)
    assert kept * 4096 < 1 << 19
    cache.close()


def test_a_disk_that_takes_no_more_keeps_what_was_there(tmp_path: Path) -> None:
    child = get_context("fork").Process(target=fill_small_disk, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 0
    disk = DiskCache(tmp_path, 1 << 30)
    rows = disk.used // (KEY + 2800)
    ids = [f"{i:016x}" for i in range(rows + 4)]
    assert disk.missing(KIND, ids) == ids[rows:]
    disk.put(KIND, ids[rows:], values(1, 4, 700))
    assert disk.missing(KIND, ids) == []
    disk.close()


@pytest.mark.parametrize("code", [28, 122, 5])
def test_what_lmdb_says_of_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: DiskCache, code: int
) -> None:
    disk.put(KIND, IDS[:2], ROWS[:2])

    def full(*_: object, **__: object) -> None:
        error = lmdb.Error("mdb_txn_commit")
        vars(error)["code"] = code  # as LMDB's own errors have it
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("sidelight.system.cache.row_file.RowFile._environment", full)
        with pytest.raises(StoreFull):
            disk._file.write({b"key": b"value"})
    assert torch.equal(disk.rows(KIND, IDS[:2]), ROWS[:2])
