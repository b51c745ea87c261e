"""Resident memory of this process: how much there is now, and the most since the mark was last set (Linux)."""

from __future__ import annotations

import ctypes
import gc
import re
from contextlib import suppress
from pathlib import Path

from ...system.errors import UsageError

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MMAP_THRESHOLD, LARGE = -3, 1 << 17
"""glibc's mallopt(3): blocks of so many bytes are mapped apart; set, the threshold no longer grows by itself."""
RESET_PEAK = "5"
"""What Linux takes for: the peak is from now on what is resident now (proc(5), clear_refs)."""


def steady() -> None:
    """Have large blocks given back as soon as they are freed, so that a peak is what was in use, not what was kept."""
    with suppress(OSError, AttributeError):  # another C library has no such setting
        ctypes.CDLL("libc.so.6").mallopt(MMAP_THRESHOLD, LARGE)


def resident() -> int:
    """Bytes resident now, once what nobody uses was given back."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library keeps what it likes
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return _read("VmRSS")


def mark() -> None:
    """Let the peak begin here; raises UsageError where the system does not know how."""
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:
        raise UsageError("peak memory is measured on Linux alone; run this benchmark there") from None


def peak() -> int:
    """The most bytes that were resident since the mark."""
    return _read("VmHWM")


def _read(field: str) -> int:
    try:
        found = re.search(rf"^{field}:\s*(\d+) kB", STATUS.read_text(encoding="utf-8"), re.M)
    except OSError:
        found = None
    if found is None:
        raise UsageError("peak memory is measured on Linux alone; run this benchmark there")
    return int(found[1]) * 1024
