"""The server that workers are forked from: started before any data was read, it loads the libraries and waits.

It reads orders from its standard input, one JSON object a line, and writes events to its standard output. It ends, with
all workers, when its input ends. `worker_start` is how it is started.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pkgutil
import selectors
import signal
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import torch

from ... import attacks
from ...system import backbone, public, view
from . import confine, worker_task
from .readable import code_paths

PRELOADED = (backbone, public, view)
"""What every worker needs and would otherwise import itself."""
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes that getrusage counts in: macOS in ones, others in kibibytes."""
FAMILY_OF_THE_DEFAULT = "transformers.models.opt.modeling_opt"


class Server:
    """Forks a worker for each order, and tells when it started and how it ended."""

    def __init__(self, orders: int, events: int) -> None:
        self._orders, self._events = orders, events
        self._unread = b""
        self._live: dict[int, int] = {}
        """Process id to task number."""

    def serve(self) -> None:
        """Until the input ends; then end every worker."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._orders, selectors.EVENT_READ)
            selector.register(_wake_on_child(), selectors.EVENT_READ)
            self._tell({"event": "ready"})
            while True:
                for key, _ in selector.select():
                    received = os.read(key.fd, 1 << 16)
                    if key.fd == self._orders and not received:
                        return self._end_all()
                    if key.fd == self._orders:
                        self._obey(received)
                self._reap()

    def _obey(self, received: bytes) -> None:
        *lines, self._unread = (self._unread + received).split(b"\n")
        for order in map(json.loads, lines):
            if order["do"] == "run":
                self._start(order)
            else:
                self._kill(order["task"])

    def _start(self, order: dict[str, Any]) -> None:
        try:
            process = os.fork()
        except OSError as error:
            self._tell({"event": "ended", "task": order["task"], "error": f"no worker starts: {error.strerror}"})
            return
        if process == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            worker_task.perform_and_exit(order)
        self._live[process] = order["task"]
        self._tell({"event": "started", "task": order["task"], "process": process})

    def _kill(self, task: int) -> None:
        for process in [process for process, of in self._live.items() if of == task]:
            _kill(process)

    def _reap(self) -> None:
        for process, status, usage in _ended():
            task = self._live.pop(process, None)
            if task is not None:
                self._end_strays()
                code = os.waitstatus_to_exitcode(status)
                self._tell({"event": "ended", "task": task, "status": code, "peak": usage.ru_maxrss * UNIT})

    def _end_strays(self) -> None:
        """End what a worker started and left behind: as the nearest subreaper, this server inherits it."""
        while strays := [child for child in _children() if child not in self._live]:
            for stray in strays:
                _kill(stray)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(stray, 0)

    def _end_all(self) -> None:
        for process in self._live:
            _kill(process)
        self._live.clear()
        self._end_strays()

    def _tell(self, event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # the audit is gone: the end of the input follows
            os.write(self._events, line)  # below PIPE_BUF, hence whole


def _kill(process: int) -> None:
    """End a process, and its group where it leads one already."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(process, signal.SIGKILL)


def _children() -> list[int]:
    """Processes whose parent is this one, also those that have ended but were not waited for."""
    try:
        # exact here: this thread alone starts children and waits for them, so none leaves the list while it is read
        return list(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()))
    except OSError:  # not Linux, or a kernel without this list: all processes are looked at
        return [child.pid for child in psutil.Process().children()]


def _ended() -> Iterator[tuple[int, int, Any]]:
    """Children that ended and were not waited for."""
    while True:
        try:
            process, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if process == 0:
            return
        yield process, status, usage


def _wake_on_child() -> int:
    """A handle that can be read after a child has ended."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable


def preload() -> None:
    """Import the package's own attacks and what they need; a plug-in is imported in its worker only."""
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    for module in pkgutil.walk_packages(attacks.__path__, f"{attacks.__name__}."):
        import_module(module.name)
    import_module(FAMILY_OF_THE_DEFAULT)
    backbone.load_backbone(backbone.TINY)  # loading a first one fills caches, which each worker would fill anew
    # the CPU is looked at once, here: a worker cannot read what describes it
    torch.nn.functional.linear(torch.ones(8, 8), torch.ones(8, 8))
    code_paths()
    gc.collect()
    gc.freeze()  # a worker's collector would otherwise touch, and so copy, every object that it shares


def main() -> None:
    """Serve the process that started this one."""
    events = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not mix with the events
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads; none runs here
    confine.inherit_strays()
    Server(0, events).serve()
    os._exit(0)  # unloading the libraries one by one takes a second
