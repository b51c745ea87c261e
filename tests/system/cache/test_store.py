"""A server's store: an area a device, nobody else's rows, what is evicted when, and nothing left of what is removed."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from sidelight.system.cache import Absent
from sidelight.system.cache.store import ENDED, OPEN, Store
from sidelight.system.errors import ProtocolError, StoreFull, UsageError

KIND = "activations"
EACH = len(KIND) + 1 + 8 + 4 * 30
"""Bytes of a row with its key."""
IDS = [f"{i:016x}" for i in range(20)]
ROWS = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
QUOTA, CAPACITY = 20 * EACH, 30 * EACH


@pytest.fixture
def evicted() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, evicted: list[str]) -> Iterator[Store]:
    with closing(Store(tmp_path / "store", QUOTA, CAPACITY, evicted.append)) as made:
        yield made


def keep(store: Store, name: str, rows: int, ended: bool = False) -> None:
    area = store.area(name)
    area.cache.put(KIND, IDS[:rows], ROWS[:rows])
    area.save_state({"weights": ROWS[0]})
    area.record({"agreed": name, ENDED: ended})


def rows_of(store: Store, name: str) -> int:
    return len(IDS) - len(store.area(name).cache.missing(KIND, IDS))


# --- areas -------------------------------------------------------------------------------------------------------


def test_no_device_sees_rows_of_another(store: Store) -> None:
    one, other = store.area("device-0"), store.area("device-1")
    one.cache.put(KIND, IDS[:2], ROWS[:2])
    assert other.cache.missing(KIND, IDS[:2]) == IDS[:2]
    with pytest.raises(Absent):
        other.cache.rows(KIND, IDS[:1])
    other.cache.put(KIND, IDS[:2], ROWS[2:4])
    other.cache.forget(IDS[:1])
    assert torch.equal(one.cache.rows(KIND, IDS[:2]), ROWS[:2])
    assert store.area("device-0") is one


@pytest.mark.parametrize(
    "name", ["", "..", ".", ".lock", "a/b", "/etc", "Device", "-a", "a" * 65, "a\n", "ä", "a_b", "a\0"]
)
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, store: Store, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ProtocolError, match="small letters"):
        store.area(name)
    store.remove(name)
    assert sorted(tmp_path.rglob("*")) == before


def test_another_server_finds_all_that_was_kept(tmp_path: Path, store: Store) -> None:
    keep(store, "a", 3, ended=True)
    keep(store, "b-" + "9" * 62, 5)
    used = store.used
    with pytest.raises(UsageError, match="in use by another process"):
        Store(tmp_path / "store", QUOTA, CAPACITY)
    store.close()
    with closing(Store(tmp_path / "store", QUOTA, CAPACITY)) as second:
        assert second.names == ["a", "b-" + "9" * 62]
        assert second.used == used == 8 * EACH
        area = second.area("a")
        assert area.about == {"agreed": "a", ENDED: True}
        assert torch.equal(area.load_state()["weights"], ROWS[0])
        assert torch.equal(area.cache.rows(KIND, IDS[:3]), ROWS[:3])


def test_what_was_broken_off_while_it_was_written_changes_nothing(tmp_path: Path, store: Store) -> None:
    keep(store, "a", 3)
    keep(store, "gone", 3)
    folder = tmp_path / "store" / "a"
    store.close()
    for half in ("about.json.new", "state.new", "state.new.partial-17", "turn.new.partial-3", "rows.new"):
        (folder / half).write_bytes(b"half")
    (tmp_path / "store" / "gone").rename(tmp_path / "store" / ".removed-gone")
    with closing(Store(tmp_path / "store", QUOTA, CAPACITY)) as second:
        area = second.area("a")
        assert area.about == {"agreed": "a", ENDED: False}
        assert rows_of(second, "a") == 3
        assert sorted(path.name for path in folder.iterdir()) == [
            "about.json", "lock", "rows.mdb", "state.safetensors", "turn",
        ]  # fmt: skip
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [".lock", "a"]


def test_an_area_that_was_never_used_is_empty_and_everything_is_private(tmp_path: Path, store: Store) -> None:
    area = store.area("a")
    assert (area.load_state(), area.about, store.used) == ({}, {}, 0)
    keep(store, "a", 1)
    for path in (tmp_path / "store").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_removed_area_leaves_no_byte_and_comes_back_empty(tmp_path: Path, store: Store) -> None:
    keep(store, "a", 3)
    keep(store, "b", 2)
    store.remove("a")
    assert store.names == ["b"]
    content = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert ROWS[1].numpy().tobytes()[:8] in content
    assert ROWS[2].numpy().tobytes()[:8] not in content
    assert not (tmp_path / "store" / "a").exists()
    assert rows_of(store, "a") == 0
    assert store.area("a").about == {}


# --- capacity ----------------------------------------------------------------------------------------------------


def test_the_samples_of_the_training_that_ended_longest_ago_are_evicted_first(store: Store, evicted: list[str]) -> None:
    for name, ended in (("first", True), ("second", True), ("third", False)):
        keep(store, name, 10, ended)
    store.area("first")  # it came again: the second is the one that was asked for longest ago
    keep(store, "fourth", 1)
    assert evicted == ["second"]
    assert [rows_of(store, name) for name in ("first", "second", "third", "fourth")] == [10, 0, 10, 1]
    assert torch.equal(store.area("second").load_state()["weights"], ROWS[0])
    assert store.area("second").about[ENDED] is True
    store.area("fourth").cache.put(KIND, IDS[:10], ROWS[:10])
    assert evicted == ["second"]
    store.area("third").cache.put(KIND, IDS[:20], ROWS[:20])
    assert evicted == ["second", "first"]
    assert store.used == CAPACITY


def test_a_training_that_has_not_ended_is_never_evicted(store: Store, evicted: list[str]) -> None:
    keep(store, "ended", 5, ended=True)
    keep(store, "one", 10)
    keep(store, "other", 15)
    newcomer = store.area("newcomer").cache
    with pytest.raises(StoreFull, match=f"{CAPACITY:,} bytes"):
        newcomer.put(KIND, IDS[:6], ROWS[:6])
    assert evicted == []  # five rows would not have been enough
    assert store.used == CAPACITY
    store.area("one").cache.put(KIND, IDS[:10], ROWS[:10])  # what is there takes no room
    newcomer.put(KIND, IDS[:5], ROWS[:5])
    assert evicted == ["ended"]


def test_a_device_does_not_evict_itself(store: Store, evicted: list[str]) -> None:
    keep(store, "a", 15, ended=True)
    keep(store, "b", 15)
    with pytest.raises(StoreFull):
        store.area("a").cache.put(KIND, IDS[15:], ROWS[15:])
    assert (evicted, rows_of(store, "a")) == ([], 15)


def test_the_order_of_eviction_outlives_the_server(tmp_path: Path, store: Store) -> None:
    for name in ("b", "a"):
        keep(store, name, 15, ended=True)
    store.close()
    told: list[str] = []
    with closing(Store(tmp_path / "store", QUOTA, CAPACITY, told.append)) as second:
        keep(second, "c", 1)
    assert told == ["b"]


# --- many at once ------------------------------------------------------------------------------------------------


def test_many_devices_at_once_keep_their_own_and_few_files_are_open(tmp_path: Path) -> None:
    before = handles()
    most, errors = 0, list[str]()
    with closing(Store(tmp_path, QUOTA, 1 << 30)) as store:

        def work(number: int) -> None:
            nonlocal most
            cache = store.area(f"device-{number}").cache
            for at in range(0, 20, 5):
                cache.put(KIND, IDS[at : at + 5], ROWS[at : at + 5] + number)
            most = max(most, handles())
            if not torch.equal(cache.rows(KIND, IDS), ROWS + number):
                errors.append(f"device-{number}")

        for start in (0, 32, 64):
            threads = [threading.Thread(target=work, args=(number,)) for number in range(start, start + 32)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert errors == []
        assert store.used == 96 * 20 * EACH
        assert most - before <= 4 * (OPEN + 32)  # 32 are at work, at most
        assert handles() - before <= 4 * OPEN
        assert all(torch.equal(store.area(f"device-{n}").cache.rows(KIND, IDS[:1]), ROWS[:1] + n) for n in range(96))
    assert handles() == before


def test_no_more_than_the_capacity_is_kept_when_many_put_at_once(tmp_path: Path) -> None:
    refused = list[int]()
    with closing(Store(tmp_path, QUOTA, CAPACITY)) as store:

        def work(number: int) -> None:
            try:
                store.area(f"device-{number}").cache.put(KIND, IDS[:7], ROWS[:7])
            except StoreFull:
                refused.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.used <= CAPACITY
        assert store.used == (16 - len(refused)) * 7 * EACH > 0


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
