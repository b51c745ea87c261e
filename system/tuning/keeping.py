"""What a device keeps of its samples, on its disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..cache import Cache
from ..cache.disk import DiskCache

QUOTA = 1 << 36
"""Bytes: 64 GiB, more than any phone gives away."""


@contextmanager
def open_cache(folder: Path) -> Iterator[Cache]:
    """Durable before anything is sent."""
    cache = DiskCache(folder, QUOTA)
    try:
        yield cache
    finally:
        cache.close()
