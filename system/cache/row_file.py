"""Bytes under keys in one file of LMDB: durable, all or none, flat in memory, and without a trace of what is gone.

LMDB neither clears freed pages nor the unused ends of those that it writes again, and its compact copy takes such ends
along where a value fills no whole page. So what stays is written anew into another file, which never held anything
else, and which takes the old one's place. What file systems and flash keep of a file that was removed is beyond a
program's reach: only an encrypted disk helps there.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import lmdb

from ..errors import SidelightError, StoreFull
from ..files import PRIVATE
from .durable import hold, put_in_place, sync
from .opened import Opened

NAME, NEW, LOCK = "rows.mdb", "rows.new", "lock"
FORGETTING = b"\0forgetting"
"""A key that is there from the removal of rows until the file was written anew."""

MAPPED = 16 << 20
"""Bytes of the file that may be resident before the mapping is given up and made anew: mapped pages count as memory."""
AROUND = 64 << 10
"""What Linux maps around a page that is touched, where it has it."""
CHUNK = 256
"""Keys that are looked up, and copied, at a time."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""How a disk says that it takes no more; EIO is also what LMDB makes of a write that ended early."""


class RowFile:
    """One LMDB file in a folder of its own; opened when it is first needed, and again after `close`.

    Whoever does several things that belong together holds `lock` meanwhile.
    """

    def __init__(self, folder: Path, map_size: int, opened: Opened) -> None:
        """`map_size`: bytes that the file can grow to. Nothing is touched yet."""
        self.lock = threading.RLock()
        self._folder, self._map_size, self._opened = folder, map_size, opened
        self._held: int | None = None
        self._mapped: lmdb.Environment | None = None
        self._touched = 0

    # --- reading ---------------------------------------------------------------------------------------------------

    def joined(self, keys: Sequence[bytes]) -> tuple[bytearray, list[int]]:
        """The values of keys one after another, or none of them and the places of keys that are not there."""
        with self.lock:
            with self._environment().begin(buffers=True) as transaction:
                found = [transaction.get(key) for key in keys]
                absent = [place for place, value in enumerate(found) if value is None]
                values = bytearray().join(value for value in found if value is not None and not absent)
            self._touch(len(keys), len(values))
        return values, absent

    def there(self, keys: Sequence[bytes]) -> list[bool]:
        """Which keys are there."""
        found: list[bool] = []
        with self.lock:
            for at in range(0, len(keys), CHUNK):
                some = keys[at : at + CHUNK]
                with self._environment().begin(buffers=True) as transaction:
                    found += [transaction.get(key) is not None for key in some]
                self._touch(len(some), 0)
        return found

    def starting(self, prefix: bytes) -> dict[bytes, bytes]:
        """All keys that start so, with their values."""
        found: dict[bytes, bytes] = {}
        with self.lock, self._environment().begin() as transaction, transaction.cursor() as cursor:
            more = cursor.set_range(prefix)
            while more and cursor.key().startswith(prefix):
                found[cursor.key()] = cursor.value()
                more = cursor.next()
        return found

    # --- writing ---------------------------------------------------------------------------------------------------

    def write(self, values: Mapping[bytes, bytes]) -> None:
        """Put values in the place of what is there; durable on return, all or none. Raises StoreFull."""
        with self.lock:
            self._change(values, ())
            self._touch(len(values), 0)

    def remove(self, keys: Sequence[bytes], values: Mapping[bytes, bytes]) -> None:
        """Remove keys and put values, all or none; on return the file holds no byte of what was removed.

        Takes time and room on the disk as what stays does. Raises StoreFull where there is no such room: the keys are
        gone then, and their bytes go as soon as the file is opened again and there is.
        """
        with self.lock:
            self._change({**values, FORGETTING: b""}, keys)
            self._write_anew()

    def drop(self) -> None:
        """Remove the file with everything in it."""
        with self.lock, self._full_disk_told():
            self._hold()
            self._unmap()
            (self._folder / NAME).unlink(missing_ok=True)
            sync(self._folder)

    def _change(self, values: Mapping[bytes, bytes], gone: Sequence[bytes]) -> None:
        with self._full_disk_told(), self._environment().begin(write=True) as transaction:
            for key in gone:
                transaction.delete(key)
            for key, value in values.items():
                transaction.put(key, value)

    def _write_anew(self) -> None:
        new = self._folder / NEW
        new.unlink(missing_ok=True)
        with self._full_disk_told():
            try:
                self._copy()
                self._unmap()
                put_in_place(new, self._folder / NAME)
            finally:
                new.unlink(missing_ok=True)  # a full disk is not to be filled further

    def _copy(self) -> None:
        environment = self._map(NEW, durable=False)
        try:
            for rows in self._chunks():
                with environment.begin(write=True) as transaction:
                    for key, value in rows:
                        transaction.put(key, value, append=True)
            environment.sync(True)
        finally:
            environment.close()

    def _chunks(self) -> Iterator[list[tuple[bytes, bytes]]]:
        """Everything in the file but the mark, in the order of keys."""
        after = b""
        while True:
            with self._environment().begin() as transaction, transaction.cursor() as cursor:
                more = cursor.set_range(after + b"\0" if after else b"\0")
                rows: list[tuple[bytes, bytes]] = []
                while more and len(rows) < CHUNK:
                    rows.append((cursor.key(), cursor.value()))
                    more = cursor.next()
            if not rows:
                return
            self._touch(len(rows), sum(len(value) for _, value in rows))
            after = rows[-1][0]
            yield [(key, value) for key, value in rows if key != FORGETTING]

    # --- opening and closing ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the folder free; whatever is asked next opens it again."""
        with self.lock:
            self._unmap()
            self._opened.remove(self)
            if self._held is not None:
                os.close(self._held)
                self._held = None

    def close_unless_busy(self) -> None:
        """Close where no other thread is at work here."""
        if self.lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self.lock.release()

    def _environment(self) -> lmdb.Environment:
        """The mapped file; what was broken off while it was written anew is finished first."""
        if self._mapped is None:
            with self._full_disk_told():
                first = self._held is None
                self._hold()
                self._mapped = self._map(NAME, durable=True)
                if first:
                    sync(self._folder)
                    with suppress(StoreFull):  # who removed the rows was told, and the next start tries again
                        self._finish()
        return self._mapped or self._environment()

    def _finish(self) -> None:
        if self.there([FORGETTING])[0]:
            self._write_anew()

    def _hold(self) -> None:
        """Take the folder, without what was left half-made in it."""
        if self._held is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
            self._held = hold(self._folder / LOCK)
            self._opened.add(self)
            (self._folder / NEW).unlink(missing_ok=True)

    def _map(self, name: str, durable: bool) -> lmdb.Environment:
        """LMDB's own locks are not needed where one process holds the folder and one thread the file."""
        path = self._folder / name
        try:
            return lmdb.open(
                str(path),
                map_size=self._map_size,
                subdir=False,
                sync=durable,
                metasync=durable,
                mode=0o600,
                readahead=False,
                lock=False,
                lib_version=0,
            )
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError):
            raise SidelightError(
                f"{path} is damaged or no cache; remove it, and what was in it is sent again"
            ) from None

    def _unmap(self) -> None:
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
        self._touched = 0

    def _touch(self, rows: int, size: int) -> None:
        """Count what was mapped, and give it back where it is much."""
        self._touched += rows * AROUND + size
        if self._touched > MAPPED:
            self._unmap()

    @contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            with suppress(lmdb.Error):
                self._unmap()  # what LMDB holds in memory may differ from the file after a failure
            code = error.errno if isinstance(error, OSError) else error.code
            if code in FULL or isinstance(error, lmdb.MapFullError):
                raise StoreFull(
                    f"the disk under {self._folder.name} takes no more ({error}); make room on it"
                ) from None
            raise
