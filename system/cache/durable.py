"""Files that are there after a power cut, and folders that one process holds."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..errors import UsageError


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(new: Path, path: Path) -> None:
    """Give a finished file the name of another, which is gone from then on, whatever breaks off when."""
    sync(new)
    new.replace(path)
    sync(path.parent)


def hold(path: Path) -> int:
    """Lock a file until its handle is closed; UsageError where another holds it, in this process or elsewhere."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UsageError(f"{path.parent} is in use by another process; end that one or give another folder") from None
    return handle
