"""The harness's handle on the server that forks workers: orders go out, events come back."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from ...system.errors import SidelightError

PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL")
"""All that the server's environment takes over: where code stands and how text is encoded."""
NO_HOME = "/nonexistent"
"""A worker's home is its scratch folder; the server has none."""
START_SECONDS = 120
POLL_SECONDS = 0.05
DESCENDANTS_EVERY = 10
"""Polls of the worker's memory for one look at what it started itself."""

LOST = {"event": "lost"}


@dataclass(frozen=True)
class Limits:
    """What one task may use."""

    seconds: float = 600
    resident_bytes: int = 8 << 30


@dataclass(frozen=True)
class Ended:
    """How a worker ended."""

    status: int | None
    """Exit status, minus the signal that killed it, or None where `reason` says what stopped it."""
    reason: str
    seconds: float
    peak_bytes: int


class ServerHandle:
    """A running server; `run` may be called from several threads."""

    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close(); it has no name, so nothing is left of it
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.worker_start"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            cwd="/",
            start_new_session=True,  # a Ctrl-C reaches the harness only, which ends the server
        )
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._lost = False
        self._reader = threading.Thread(target=self._read, name="sidelight-worker-events", daemon=True)
        self._reader.start()

    @property
    def lost(self) -> bool:
        """Whether the server has ended."""
        return self._lost

    def wait_until_ready(self) -> None:
        """Until the libraries are loaded; SidelightError where they do not load."""
        if not self._ready.wait(START_SECONDS) or self._lost:
            self._log.seek(0)
            said = self._log.read().decode("utf-8", "replace").strip()
            last = (said.splitlines() or ["it says nothing"])[-1]
            raise SidelightError(f"the workers' server process does not start: {last}")

    def run(self, order: Mapping[str, Any], limits: Limits, watch: Callable[[], None] | None = None) -> Ended:
        """Have an order done, within its limits; always ends with the worker gone. `watch` is called at every poll."""
        task, events = next(self._numbers), queue.SimpleQueue[dict[str, Any]]()
        with self._lock:
            self._waiting[task] = events
            if self._lost:
                events.put(LOST)
        self._send({**order, "do": "run", "task": task})
        over = False
        try:
            kill = partial(self._send, {"do": "kill", "task": task})
            ended = _Watch(events, limits, kill, watch, "guess" if "view" in order else "preparation").until_end()
            over = True
            return ended
        finally:
            if not over:  # interrupted: nobody waits for this worker any more
                self._send({"do": "kill", "task": task})
            self._waiting.pop(task, None)

    def close(self) -> None:
        """End every worker and the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5 if self._ready.is_set() else 0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()  # workers follow: each asked the kernel to die with the server
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._log.close()

    def _send(self, order: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # the server is gone or closed; the reader tells who waits
            pass

    def _read(self) -> None:
        assert self._process.stdout is not None
        for event in map(json.loads, self._process.stdout):
            if event["event"] == "ready":
                self._ready.set()
            elif events := self._waiting.get(event["task"]):
                events.put(event)
        with self._lock:
            self._lost = True
            for events in self._waiting.values():
                events.put(LOST)
        self._ready.set()


class _Watch:
    """Follows one worker: time, resident memory, end."""

    def __init__(
        self,
        events: queue.SimpleQueue[dict[str, Any]],
        limits: Limits,
        kill: Callable[[], None],
        watch: Callable[[], None] | None,
        asked: str,
    ) -> None:
        self._events, self._limits, self._kill, self._asked = events, limits, kill, asked
        self._look = watch or (lambda: None)
        self._stopped, self._peak = "", 0

    def until_end(self) -> Ended:
        """Wait for the worker's start and end, and stop it at a limit."""
        event = self._events.get()
        started = time.monotonic()
        if event["event"] == "started":
            event = self._watch(event["process"], started)
        seconds = time.monotonic() - started
        peak = max(self._peak, event.get("peak", 0))
        if event["event"] == "lost":
            return Ended(None, self._stopped or "the workers' server process ended", seconds, peak)
        reason = self._stopped or event.get("error", "")
        return Ended(None if reason else event["status"], reason, seconds, peak)

    def _watch(self, process: int, started: float) -> dict[str, Any]:
        for poll in itertools.count():
            try:
                return self._events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._look()
                self._check(process, time.monotonic() - started, descendants=poll % DESCENDANTS_EVERY == 0)
        raise AssertionError("unreachable")

    def _check(self, process: int, seconds: float, descendants: bool) -> None:
        resident = _resident(process, descendants)
        self._peak = max(self._peak, resident)
        if self._stopped:
            return
        if resident > self._limits.resident_bytes:
            self._stopped = f"resident memory above {self._limits.resident_bytes / 2**30:.1f} GiB"
        elif seconds > self._limits.seconds:
            self._stopped = f"no {self._asked} within {self._limits.seconds:g} s"
        if self._stopped:
            self._kill()


def _resident(process: int, descendants: bool) -> int:
    """Bytes of a worker, and of what it started; 0 once it is gone."""
    try:
        worker = psutil.Process(process)
        family = [worker, *(worker.children(recursive=True) if descendants else ())]
    except psutil.Error:
        return 0
    return sum(map(_own_resident, family))


def _own_resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        **passed,
        "HOME": NO_HOME,
        "PYTHONUSERBASE": site.getuserbase(),  # libraries may stand in the user's site, which follows HOME
        "PYTHONHASHSEED": "0",  # sets of strings come in the same order in every run
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # on Linux, the heap in huge pages: a fork then copies a short table instead of a long one
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "PYTHONMALLOC": "malloc",
    }
