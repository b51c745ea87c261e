"""Starts the server that workers are forked from: `python -m sidelight.audits.sandbox.worker_start`.

Its libraries take seconds to load, and a harness that is killed meanwhile must not leave it behind: until it serves, a
thread looks whether the harness still lives. No thread runs when workers are forked.
"""

from __future__ import annotations

import os
import threading

SECONDS_APART = 0.2


def main() -> None:
    """Load, and serve until the harness ends."""
    loaded = threading.Event()
    watch = threading.Thread(target=_end_with, args=(os.getppid(), loaded), daemon=True)
    watch.start()
    from . import worker

    worker.preload()
    loaded.set()
    watch.join()
    worker.main()


def _end_with(parent: int, loaded: threading.Event) -> None:
    while not loaded.wait(SECONDS_APART):
        if os.getppid() != parent:
            os._exit(0)


if __name__ == "__main__":
    main()
