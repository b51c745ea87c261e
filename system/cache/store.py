"""Everything that a server keeps for its devices: one folder, in it one area a device, and nothing of one in another's.

ROOT/.lock          held by the server that has the store
ROOT/NAME/          a device's area
    rows.mdb        activations and differences (disk.py)
    state.safetensors   the side network and what its training needs to go on
    about.json      what device and server agreed on
    turn            when it was last asked for: a count, since clocks jump
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import ProtocolError, StoreFull
from ..files import PRIVATE, read_json, write_json
from ..folder import read_tensors, write_tensors
from .disk import DiskCache
from .durable import hold, put_in_place, sync
from .opened import Opened

DEVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
ENDED = "ended"
"""What stands as True in what is told about an area whose training has ended: it may be evicted then."""
OPEN = 64
"""Caches whose files are open at once, unless more threads are at work in them."""
LOCK, REMOVED, UNFINISHED = ".lock", ".removed-", ".new"
"""No device's name starts with a dot."""


class Area:
    """What a server keeps for one device."""

    def __init__(self, folder: Path, cache: DiskCache) -> None:
        self.name, self.folder, self.cache = folder.name, folder, cache
        folder.mkdir(mode=PRIVATE, exist_ok=True)
        for left in folder.glob(f"*{UNFINISHED}*"):
            left.unlink()

    def save_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Durable on return, whole or as it was before; raises StoreFull."""
        new = self.folder / f"state{UNFINISHED}"
        write_tensors(new, tensors)
        try:
            put_in_place(new, self.folder / "state.safetensors")
        except OSError as error:
            raise StoreFull(
                f"the state of {self.name} cannot be written ({error}); see that the disk has room"
            ) from None

    def load_state(self) -> dict[str, torch.Tensor]:
        """What was saved last; empty before."""
        return read_tensors(self.folder / "state.safetensors")

    def record(self, about: Mapping[str, Any]) -> None:
        """Keep what device and server agreed on, in the place of what was; durable on return. Raises StoreFull."""
        self._write("about.json", dict(about))

    @property
    def about(self) -> dict[str, Any]:
        """What was recorded last; empty before."""
        path = self.folder / "about.json"
        found: dict[str, Any] = read_json(path) if path.exists() else {}
        return found

    @property
    def turn(self) -> int:
        path = self.folder / "turn"
        return int(read_json(path)) if path.exists() else 0

    def asked_for(self, turn: int) -> None:
        self._write("turn", turn)

    def _write(self, name: str, value: Any) -> None:
        new = self.folder / f"{name}{UNFINISHED}"
        try:
            write_json(new, value)
            put_in_place(new, self.folder / name)
        except OSError as error:
            raise StoreFull(f"{name} of {self.name} cannot be written ({error}); see that the disk has room") from None


class Store:
    """Areas by device. Where all of them together exceed the capacity, what is needed least is evicted.

    Evicted are activations and differences, never a trained side network, of areas whose training has ended, those
    first that were asked for longest ago. Where that makes no room, a put is refused with StoreFull.
    """

    def __init__(
        self, root: Path, quota: int, capacity: int, evicted: Callable[[str], object] = lambda name: None
    ) -> None:
        """`quota` of one device and `capacity` of all: bytes of cached values with their keys.

        `evicted` is told a device's name when its samples were evicted. UsageError where another server has the store.
        """
        self._root, self._quota, self._capacity, self._evicted = root, quota, capacity, evicted
        self._lock = threading.RLock()
        root.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
        self._held: int | None = hold(root / LOCK)
        for left in root.glob(f"{REMOVED}*"):
            shutil.rmtree(left)
        self._opened = Opened(OPEN)
        self._promised: Counter[str] = Counter()
        found = (path for path in root.iterdir() if path.is_dir() and DEVICE_NAME.fullmatch(path.name))
        self._areas = {path.name: self._made(path.name) for path in found}
        self._turn = max((area.turn for area in self._areas.values()), default=0)

    def _made(self, name: str) -> Area:
        folder = self._root / name
        return Area(folder, DiskCache(folder, self._quota, partial(self._room, name), self._opened))

    def area(self, name: str) -> Area:
        """A device's area, made where there is none; to be asked for whenever a device comes."""
        if not DEVICE_NAME.fullmatch(name):
            raise ProtocolError("a device's name is 1 to 64 small letters, digits and hyphens; another one came")
        with self._lock:
            if name not in self._areas:
                self._areas[name] = self._made(name)
                sync(self._root)
            self._turn += 1
            self._areas[name].asked_for(self._turn)
            return self._areas[name]

    @property
    def names(self) -> list[str]:
        """The devices that have an area."""
        with self._lock:
            return sorted(self._areas)

    @property
    def used(self) -> int:
        """Bytes of cached values with their keys, and of what is being written."""
        with self._lock:
            return sum(area.cache.used for area in self._areas.values()) + self._promised.total()

    def remove(self, name: str) -> None:
        """Remove a device's area with everything in it; whoever still has it must not use it."""
        with self._lock:
            area = self._areas.pop(name, None)
            if area is None:
                return
            area.cache.close()
            going = self._root / f"{REMOVED}{name}"
            area.folder.rename(going)  # whole or not at all, whatever breaks off
            sync(self._root)
            shutil.rmtree(going)
            sync(self._root)

    def close(self) -> None:
        """Give the store free; nothing is to be asked of it afterwards."""
        with self._lock:
            for area in self._areas.values():
                area.cache.close()
            if self._held is not None:
                os.close(self._held)
                self._held = None

    @contextmanager
    def _room(self, name: str, size: int) -> Iterator[None]:
        """Hold room for bytes that a device is going to keep.

        It is asked for before a cache is locked, so that no two threads wait for each other.
        """
        with self._lock:
            if size:
                self._make_room(name, size)
            self._promised[name] += size
        try:
            yield
        finally:
            with self._lock:
                self._promised[name] -= size

    def _make_room(self, name: str, size: int) -> None:
        excess = self.used + size - self._capacity
        for area in self._victims(name, excess):
            area.cache.clear()
            self._evicted(area.name)

    def _victims(self, name: str, excess: int) -> list[Area]:
        """Areas to evict for so many bytes; raises StoreFull where all that may be evicted are not enough."""
        chosen: list[Area] = []
        candidates = (area for area in self._areas.values() if area.name != name and area.about.get(ENDED) is True)
        for area in sorted(candidates, key=lambda area: area.turn) if excess > 0 else ():
            if excess > 0 and area.cache.used:
                chosen.append(area)
                excess -= area.cache.used
        if excess > 0:
            raise StoreFull(
                f"the store holds {self._capacity:,} bytes and no training has ended whose samples could be evicted; "
                "try again later"
            )
        return chosen
