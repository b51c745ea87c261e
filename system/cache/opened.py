"""A bound on how many files are open at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .row_file import RowFile


class Opened:
    """Bounds how many files are open at once: those that were opened longest ago are closed, unless they are busy."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._files: dict[RowFile, None] = {}
        self._lock = threading.RLock()

    def add(self, file: RowFile) -> None:
        with self._lock:
            self._files[file] = None
            for other in list(self._files)[: -self._most]:
                other.close_unless_busy()

    def remove(self, file: RowFile) -> None:
        with self._lock:
            self._files.pop(file, None)
