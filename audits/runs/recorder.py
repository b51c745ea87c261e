"""A process that records the runs it is told to, one line of JSON each: how two cores record two runs at a time.

Orders hold the victim's seed, so they come by standard input, never as arguments or environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to load: a recorder must hear of the harness's end before that
    from .recording import RunOrder

NONE_STARTS = "no process could be started to record it; end others, or allow this user more"
Report = Callable[["RunOrder", str | None], None]
"""Called with each finished order, and why it failed."""


EARLY = 2
"""Processes that begin to load their libraries at once; what more are needed start when they are."""


class Recorders:
    """A context manager of so many processes at most; it ends them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._idle: list[subprocess.Popen[str]] = []
        self._children: list[subprocess.Popen[str]] = []
        with suppress(OSError):  # what does not start now is tried again, and told of, when it is needed
            for _ in range(min(count, EARLY)):
                self._idle.append(self._started())

    def __enter__(self) -> Recorders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End them, whatever they are doing."""
        ended, self._idle, self._children = self._children, [], []
        for child in ended:
            child.kill()
        for child in ended:
            with suppress(OSError), child:  # closes the pipes, of which one may hold what nobody read, and waits
                pass

    def record(self, orders: Sequence[RunOrder], report: Report) -> None:
        """Record every order, several at a time; returns when all are done."""
        waiting: SimpleQueue[RunOrder] = SimpleQueue()
        for order in orders:
            waiting.put(order)
        lock, stopped = threading.Lock(), threading.Event()

        def feed() -> None:
            child: subprocess.Popen[str] | None = None
            for order in _taken(waiting):
                with lock:
                    if stopped.is_set():
                        return
                    if child is None or child.poll() is not None:  # the one before may have run out of memory
                        child = self._another()
                reason = _ask(child, order) if child else NONE_STARTS
                with lock:
                    report(order, reason)

        threads = [threading.Thread(target=feed, daemon=True) for _ in range(min(self._count, len(orders)))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            with lock:
                stopped.set()
            self.close()

    def _another(self) -> subprocess.Popen[str] | None:
        while self._idle:
            if (child := self._idle.pop()).poll() is None:  # it may have died while it waited
                return child
        with suppress(OSError):
            return self._started()
        return None

    def _started(self) -> subprocess.Popen[str]:
        self._children.append(_start())
        return self._children[-1]


def _taken(waiting: SimpleQueue[RunOrder]) -> Iterator[RunOrder]:
    while True:
        try:
            yield waiting.get_nowait()
        except Empty:
            return


def _start() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", __name__]
    # a session of its own, so that a Ctrl-C reaches the harness only, which ends its recorders
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", start_new_session=True
    )


def _ask(child: subprocess.Popen[str], order: RunOrder) -> str | None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(asdict(order)) + "\n")
        child.stdin.flush()
        answer = child.stdout.readline()
    except (OSError, ValueError):  # it is gone, or an interruption has closed its pipes
        answer = ""
    if not answer.endswith("\n"):
        return f"the recorder ended with status {child.wait()} (a negative one is a signal; -9 may be want of memory)"
    reason: str | None = json.loads(answer)
    return reason


def main() -> None:
    """Serve orders until the input ends."""
    waiting: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    import torch

    from ...system.backbone import load_backbone
    from ...system.errors import place
    from .recording import RunOrder, record

    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(1)
    while True:
        order = RunOrder(**json.loads(waiting.get()))
        try:
            record(order, load_backbone(order.backbone))
            reason = None
        except Exception as error:  # one run that fails must not take the others with it
            reason = place(error)
        print(json.dumps(reason), file=answers, flush=True)


def _listen(waiting: SimpleQueue[str]) -> None:
    """Pass orders on; when the harness is gone, however it went, end in the middle of a run."""
    for line in sys.stdin:
        waiting.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
