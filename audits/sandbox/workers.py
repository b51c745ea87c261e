"""Runs attacks apart: each in a worker that can read its view, public knowledge and code, and nothing else.

A preparation is run the same way, without a view: the worker has none and can read none.

Workers are forked from a server process that was started before any data was read and whose arguments and
environment name none. On Linux with Landlock the kernel keeps a worker from all other files, from other
processes and from TCP; elsewhere `Workers.sandbox` is "none" and `sandbox_reason` says why.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ...attacks.attack import Guess
from ...system import files
from ...system.errors import UsageError
from . import guess_files, landlock, prepared_files, window, worker_task
from .guess_files import GuessError
from .readable import code_paths, module_paths
from .window import Finished
from .worker_server import Ended, Limits, ServerHandle

__all__ = ["Broken", "Done", "Finished", "Limits", "Ready", "Study", "Task", "Workers"]

LARGEST_ERROR = 1 << 16
LEFT = (guess_files.INDEX, guess_files.TENSORS, prepared_files.TENSORS, worker_task.ERROR)
"""What a worker leaves in its scratch folder for the harness."""

T = TypeVar("T")


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
    prepared: Path | None = None
    """The file of tensors that a `Study` of the same attack and settings left; an attack that prepares needs it."""


@dataclass(frozen=True)
class Study:
    """One preparation of one attack, from public knowledge alone: there is no view to give it."""

    attack: str
    """"module:Class"."""
    settings: Mapping[str, Any]
    public: Path
    scratch: Path
    """The only folder that the worker may write: tensors, checkpoint, progress, worker.log."""
    seed: int
    """Tells nothing of a victim."""
    readable: tuple[Path, ...] = ()
    """As in `Task`."""


@dataclass(frozen=True)
class Ready:
    """The attack prepared; whether its file is well-formed is for `prepared_files.check` to say."""

    seconds: float
    peak_bytes: int


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

    @property
    def closed(self) -> bool:
        """Whether nothing can be run any more."""
        return self._closed

    def run(self, task: Task, limits: Limits = Limits()) -> Done | Broken:  # noqa: B008 - it is frozen
        """Run an attack in a worker of its own and read its guess back."""
        given = (task.view, task.public, *([task.prepared] if task.prepared else []), *task.readable)
        ended = self._perform(task, given, limits)
        try:
            if ended.status == 0:
                return Done(guess_files.load(task.scratch), ended.seconds, ended.peak_bytes)
        except GuessError as error:
            return Broken(str(error), ended.seconds, ended.peak_bytes)
        return _broken(task.scratch, ended)

    def study(self, study: Study, limits: Limits, watch: Callable[[], None] | None = None) -> Ready | Broken:
        """Have an attack prepare in a worker of its own; `watch` is called several times a second meanwhile."""
        ended = self._perform(study, (study.public, *study.readable), limits, watch)
        return Ready(ended.seconds, ended.peak_bytes) if ended.status == 0 else _broken(study.scratch, ended)

    def side_by_side(self, jobs: Iterable[Callable[[], T]], parallel: int = 2) -> Iterator[Finished[T]]:
        """Have jobs that use these workers done in threads, drawn a few ahead; leaving early ends all workers."""
        return window.side_by_side(jobs, parallel, self.close)

    def _perform(
        self, order: Task | Study, given: Sequence[Path], limits: Limits, watch: Callable[[], None] | None = None
    ) -> Ended:
        readable = [path.resolve() for path in given]
        self._refuse_exposed([*readable, order.scratch.resolve(), *module_paths(order.attack)])
        _empty(order.scratch)
        server = self._running_server()
        server.wait_until_ready()
        paths = {name: str(value.resolve()) for name, value in vars(order).items() if isinstance(value, Path)}
        own = {"settings": dict(order.settings), "readable": list(map(str, readable))}
        return server.run({**vars(order), **paths, **own, "abi": self._abi, "threads": self._threads}, limits, watch)

    def _running_server(self) -> ServerHandle:
        with self._lock:
            if self._closed:
                raise RuntimeError("these workers are closed")
            if self._server.lost:  # a fresh interpreter, as clean as the first
                self._server.close()
                self._server = ServerHandle()
            return self._server

    def _refuse_exposed(self, readable: Iterable[Path]) -> None:
        for folder in readable:
            for path in self._private:
                if path.is_relative_to(folder):
                    raise UsageError(f"{path} lies in {folder}, which attacks can read; move it to another folder")


def _empty(scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
    scratch.chmod(files.PRIVATE)  # an earlier worker may have locked it, or put folders in the files' places
    for name in LEFT:
        path = scratch / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _broken(scratch: Path, ended: Ended) -> Broken:
    fault = ended.reason
    if ended.status is not None and ended.status < 0:
        fault = f"killed by {_signal_name(-ended.status)}"
    try:
        fault = fault or _error(scratch)
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
