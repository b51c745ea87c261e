"""What a device keeps of its samples, on its disk."""

from __future__ import annotations

from pathlib import Path

from ..cache import Cache
from ..cache.disk import DiskCache

QUOTA = 1 << 36
"""Bytes: 64 GiB, more than any phone gives away."""


def open_cache(folder: Path) -> Cache:
    """Durable before anything is sent."""
    return DiskCache(folder, QUOTA)
