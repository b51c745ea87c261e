"""Ends what has said nothing for too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watched(cancel: Callable[[], object], seconds: float) -> Iterator[Callable[[], None]]:
    """Cancels unless it is told, every so many seconds at least, that something was seen."""
    last, over = [time.monotonic()], threading.Event()

    def seen() -> None:
        last[0] = time.monotonic()

    def watch() -> None:
        while not over.wait(min(1.0, seconds / 4)):
            if time.monotonic() - last[0] > seconds:
                cancel()
                return

    watcher = threading.Thread(target=watch, name="watcher", daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
