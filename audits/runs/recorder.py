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
from dataclasses import asdict
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to load: a recorder must hear of the harness's end before that
    from .recording import RunOrder

Report = Callable[["RunOrder", str | None], None]
"""Called with each finished order, and why it failed."""


class Recorders:
    """A context manager of processes, which begin to load their libraries at once; it ends them."""

    def __init__(self, count: int) -> None:
        self._idle = [_start() for _ in range(count)]
        self._count, self._children = count, [*self._idle]

    def __enter__(self) -> Recorders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End them, whatever they are doing."""
        for child in self._children:
            with child:  # closes the pipes, and waits
                child.kill()

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
                reason = _ask(child, order)
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

    def _another(self) -> subprocess.Popen[str]:
        if not self._idle:
            self._idle.append(_start())
            self._children.append(self._idle[-1])
        return self._idle.pop()


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
