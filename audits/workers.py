"""Runs attacks apart: each in a worker that can read its view, public knowledge and code, and nothing else.

Workers are forked from a server process that was started before any data was read and whose arguments and
environment name none. On Linux with Landlock the kernel keeps a worker from all other files, from other
processes and from TCP; elsewhere `Workers.sandbox` is "none" and `sandbox_reason` says why.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from ..attacks.attack import Guess
from ..system.errors import UsageError
from . import guess_files, landlock, worker_task
from .guess_files import GuessError
from .readable import code_paths, module_paths
from .worker_server import Ended, Limits, ServerHandle

__all__ = ["Broken", "Done", "Limits", "Task", "Workers"]

LARGEST_ERROR = 1 << 16


@dataclass(frozen=True)
class Task:
    """One run of one attack on one view."""

    attack: str
    """"module:Class"."""
    settings: Mapping[str, Any]
    view: Path
    public: Path
    scratch: Path
    """The only folder that the worker may write; the guess comes back in it, the attack's output in worker.log."""
    seed: int
    """Of the attack's own randomness; tells nothing of the victim's."""
    twin: str = ""
    """"", "shuffled" or "without"."""
    without: tuple[str, ...] = ()
    """Kinds that the twin "without" never saw."""
    readable: tuple[Path, ...] = ()
    """Public folders beside the task's own, such as the backbone's."""


@dataclass(frozen=True)
class Done:
    """The attack guessed; whether the guess is well-formed is for `guess_checks.validate` to say."""

    guess: Guess
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Broken:
    """The attack raised, hung, outgrew its memory, was killed, or left no guess that can be read."""

    reason: str
    seconds: float
    peak_bytes: int


class Finished(NamedTuple):
    """A task of `run_many`, by its place in the list."""

    at: int
    outcome: Done | Broken


class Workers:
    """A context manager. Start it before private data is read; `run` may be called from several threads.

    `private` are files and folders that no worker may read: UsageError where one lies in a folder that is open
    to workers. `sandboxed=False` leaves Landlock off.
    """

    def __init__(self, private: Sequence[Path] = (), sandboxed: bool = True, threads: int = 1) -> None:
        self._private = tuple(path.resolve() for path in private)
        found = landlock.support() if sandboxed else landlock.Support(0, "Landlock was not asked for")
        self._abi, self.sandbox_reason = found
        self.sandbox = f"landlock v{self._abi}" if self._abi else "none"
        self._threads = threads
        self._closed, self._lock = False, threading.Lock()
        self._refuse_exposed(code_paths())
        self._server = ServerHandle()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End every worker and the server."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._server.close()

    def run(self, task: Task, limits: Limits = Limits()) -> Done | Broken:  # noqa: B008 - it is frozen
        """Run an attack in a worker of its own and read its guess back."""
        given = (task.view, task.public, *task.readable)
        self._refuse_exposed([path.resolve() for path in (*given, task.scratch)] + list(module_paths(task.attack)))
        _empty(task.scratch)
        server = self._running_server()
        server.wait_until_ready()
        return _outcome(task, server.run(self._order(task), limits))

    def run_many(self, tasks: Iterable[tuple[Task, Limits]], parallel: int = 2) -> Iterator[Finished]:
        """Run tasks side by side and yield each as it finishes; leaving early ends all workers."""
        with ThreadPoolExecutor(parallel, thread_name_prefix="sidelight-worker") as threads:
            places = {threads.submit(self.run, *pair): at for at, pair in enumerate(tasks)}
            try:
                for future in as_completed(places):
                    yield Finished(places[future], future.result())
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self.close()
                raise

    def _running_server(self) -> ServerHandle:
        with self._lock:
            if self._closed:
                raise RuntimeError("these workers are closed")
            if self._server.lost:  # a fresh interpreter, as clean as the first
                self._server.close()
                self._server = ServerHandle()
            return self._server

    def _order(self, task: Task) -> dict[str, Any]:
        return {
            "attack": task.attack,
            "settings": dict(task.settings),
            "view": str(task.view.resolve()),
            "public": str(task.public.resolve()),
            "scratch": str(task.scratch.resolve()),
            "seed": task.seed,
            "twin": task.twin,
            "without": list(task.without),
            "readable": [str(path.resolve()) for path in task.readable],
            "abi": self._abi,
            "threads": self._threads,
        }

    def _refuse_exposed(self, readable: Iterable[Path]) -> None:
        for folder in readable:
            for path in self._private:
                if path.is_relative_to(folder):
                    raise UsageError(f"{path} lies in {folder}, which attacks can read; move it to another folder")


def _empty(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (guess_files.INDEX, guess_files.TENSORS, worker_task.ERROR):
        (scratch / name).unlink(missing_ok=True)


def _outcome(task: Task, ended: Ended) -> Done | Broken:
    fault = ended.reason
    if ended.status is not None and ended.status < 0:
        fault = f"killed by {_signal_name(-ended.status)}"
    try:
        if ended.status == 0:
            return Done(guess_files.load(task.scratch), ended.seconds, ended.peak_bytes)
        fault = fault or _error(task.scratch)
    except GuessError as error:
        fault = str(error)
    return Broken(fault, ended.seconds, ended.peak_bytes)


def _error(scratch: Path) -> str:
    """What the worker wrote on its error, cut to one line: it is a stranger's text."""
    stored = guess_files.read_json(scratch / worker_task.ERROR, LARGEST_ERROR)
    said = stored.get("reason") if isinstance(stored, dict) else None
    lines = said.splitlines() if isinstance(said, str) else []
    return lines[0][: worker_task.LONGEST_REASON] if lines else "the worker ended without a guess or a reason"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
