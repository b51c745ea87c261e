"""The cache that outlives its process.

Shapes: B samples of a call; a row is one sample's tensor of any shape, the same for all samples of a kind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..codec import Precision
from ..envelope import ID_BYTES
from ..errors import ProtocolError, StoreFull
from .cache import Absent, Cache
from .opened import Opened
from .row_file import RowFile

LAYOUTS = b"\0kind "
"""What a key starts with under which it is told how rows of a kind are kept; no kind of a sample starts so."""
EXACT = {"fp16": "float16", "bf16": "bfloat16"}
FINEST = "float32"
"""What holds the values of a precision exactly, and those of all others."""
OVERHEAD, LEAST = 4, 64 << 20
"""The file may grow to so many times the quota, and so many bytes more: pages half full, and old ones not yet free."""

Room = Callable[[int], AbstractContextManager[object]]
"""Makes room for bytes that are going to be kept, and holds it meanwhile; raises StoreFull."""


@dataclass(frozen=True)
class Layout:
    """How rows of a kind are kept, and how many."""

    shape: tuple[int, ...]
    values: str
    """The name of a torch type."""
    rows: int = 0

    @property
    def dtype(self) -> torch.dtype:
        found = getattr(torch, self.values)
        assert isinstance(found, torch.dtype)
        return found

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class DiskCache(Cache):
    """Keeps rows in a folder: durable when `put` returns, gone from its files when `forget` or `clear` does.

    Values are kept at the precision at which they cross, where a floating-point type holds that exactly; others, which
    came through block scales, as float32, and whole numbers as int64. One process at a time has the folder, and any
    number of its threads. Of forgotten rows the folder's files hold no byte; what the file system and the disk keep of
    removed files, no program can promise.
    """

    def __init__(
        self, folder: Path, quota: int, room: Room = lambda _: nullcontext(), opened: Opened | None = None
    ) -> None:
        """`quota`: bytes of values with their keys. `room` is asked before anything is kept."""
        self._quota, self._room = quota, room
        self._file = RowFile(folder, OVERHEAD * quota + LEAST, opened or Opened(1))
        self._known: Mapping[str, Layout] | None = None

    @property
    def used(self) -> int:
        """Bytes of values with their keys."""
        return sum(layout.rows * _size(kind, layout) for kind, layout in self._layouts().items())

    def put(self, kind: str, ids: Sequence[str], rows: torch.Tensor, precision: Precision = "fp32") -> None:
        """As `Cache.put`; raises StoreFull where quota, store or disk take no more, and nothing is kept then."""
        if not ids:
            return
        with self._room(self._needed(kind, ids, rows, precision)), self._file.lock:
            layout = self._layout(kind, rows, precision)
            super().put(kind, ids, rows.to(layout.dtype).to(rows.dtype), precision)

    def _needed(self, kind: str, ids: Sequence[str], rows: torch.Tensor, precision: Precision) -> int:
        """Bytes that rows would add; raises StoreFull where they are beyond the quota."""
        with self._file.lock:
            size = len(set(self.missing(kind, ids))) * _size(kind, self._layout(kind, rows, precision))
            if size and self.used + size > self._quota:
                raise StoreFull(
                    f"{self._quota:,} bytes may be kept, and {size:,} more would be too many; let samples be forgotten"
                )
        return size

    def _write(self, kind: str, rows: Mapping[str, torch.Tensor], precision: Precision) -> None:
        stacked = torch.stack(list(rows.values()))
        layout = self._layout(kind, stacked, precision)
        raw = stacked.detach().to("cpu", layout.dtype).contiguous().reshape(len(rows), -1).view(torch.uint8).numpy()
        values = {_key(kind, sample_id): row.tobytes() for sample_id, row in zip(rows, raw, strict=True)}
        grown = replace(layout, rows=layout.rows + len(rows))
        self._file.write({**values, **_stored(kind, grown)})
        self._known = {**self._layouts(), kind: grown}

    def rows(self, kind: str, ids: Sequence[str]) -> torch.Tensor:
        found = self.kept(kind, ids)
        return found.float() if found.is_floating_point() else found

    def kept(self, kind: str, ids: Sequence[str]) -> torch.Tensor:
        layout = self._layouts().get(kind)
        if layout is None:
            raise Absent(ids)
        raw, absent = self._file.joined([_key(kind, sample_id) for sample_id in ids])
        if absent:
            raise Absent([ids[place] for place in absent])
        if not raw:
            return torch.empty(len(ids), *layout.shape, dtype=layout.dtype)
        return torch.frombuffer(raw, dtype=layout.dtype).view(len(ids), *layout.shape)

    def missing(self, kind: str, ids: Iterable[str]) -> list[str]:
        asked = list(ids)
        there = self._file.there([_key(kind, sample_id) for sample_id in asked])
        return [sample_id for sample_id, found in zip(asked, there, strict=True) if not found]

    def forget(self, ids: Iterable[str]) -> None:
        """As `Cache.forget`; what stays is written anew, which takes time and room on the disk as it does.

        Raises StoreFull where there is no such room: the samples are gone then, and their bytes go at the next start.
        """
        wanted = set(ids)
        with self._file.lock:
            layouts = self._layouts()
            gone = {kind: wanted.difference(self.missing(kind, wanted)) for kind in layouts}
            left = {kind: replace(layout, rows=layout.rows - len(gone[kind])) for kind, layout in layouts.items()}
            if not any(layout.rows for layout in left.values()):
                self.clear()
            elif any(gone.values()):
                self._remove([_key(kind, one) for kind, of_kind in gone.items() for one in of_kind], left)

    def _remove(self, keys: Sequence[bytes], left: Mapping[str, Layout]) -> None:
        told = {key: value for kind, layout in left.items() for key, value in _stored(kind, layout).items()}
        try:
            self._file.remove(keys, told)
        finally:
            self._known = None  # how far it came, the file says

    def clear(self) -> None:
        with self._file.lock:
            self._file.drop()
            self._known = None

    def close(self) -> None:
        """Give the folder free; whatever is asked next takes it again."""
        self._file.close()

    def _layouts(self) -> Mapping[str, Layout]:
        """By kind. It waits for no other thread once it is known."""
        known = self._known
        if known is None:
            with self._file.lock:
                found = self._file.starting(LAYOUTS)
                known = {key.removeprefix(LAYOUTS).decode(): _layout_of(told) for key, told in found.items()}
                self._known = known
        return known

    def _layout(self, kind: str, rows: torch.Tensor, precision: Precision) -> Layout:
        """How rows (B, ...) are kept; raises ProtocolError where those that are there are kept otherwise."""
        whole = not rows.is_floating_point()
        asked = Layout(tuple(rows.shape[1:]), "int64" if whole else EXACT.get(precision, FINEST))
        known = self._layouts().get(kind)
        if known is None or not known.rows:
            return asked
        fits = known.values == asked.values or (known.values == FINEST and not whole)
        if known.shape != asked.shape or not fits:
            raise ProtocolError(f"{kind} came in another shape or at another precision than before; send it as before")
        return known


def _key(kind: str, sample_id: str) -> bytes:
    try:
        raw = bytes.fromhex(sample_id)
    except ValueError:
        raw = b""
    if len(raw) != ID_BYTES or raw.hex() != sample_id:
        raise ProtocolError(f"a sample's id is {2 * ID_BYTES} small hexadecimal digits; another one came")
    return kind.encode() + b"\0" + raw


def _size(kind: str, layout: Layout) -> int:
    """Bytes of a row with its key."""
    return len(kind.encode()) + 1 + ID_BYTES + layout.row_bytes


def _stored(kind: str, layout: Layout) -> dict[bytes, bytes]:
    return {LAYOUTS + kind.encode(): json.dumps(vars(layout)).encode()}


def _layout_of(told: bytes) -> Layout:
    fields = json.loads(told)
    return Layout(tuple(fields["shape"]), fields["values"], fields["rows"])
