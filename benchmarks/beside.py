"""A server in a thread of the caller's process: for benchmarks and tests, which are device and server in one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..system.network.logs import Log
from ..system.network.server import Running, ServerSettings


@contextmanager
def beside(settings: ServerSettings, log: Log) -> Iterator[int]:
    """Serves while the block runs, on the port that it is given, and ends in good order."""
    running = Running(settings, log)
    loop, over, up = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    ports: list[int] = []
    failed: list[BaseException] = []

    def started(port: int) -> None:
        ports.append(port)
        up.set()

    def serve() -> None:
        try:
            loop.run_until_complete(running.run(started, over))
        except BaseException as error:
            failed.append(error)
        finally:
            up.set()
            loop.close()

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    up.wait()
    if failed:
        raise failed[0]
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
