"""Whose training goes on: devices take turns of equal time, so that one with much to train holds up nobody for long."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import torch

from .resident import Resident

SLICE = 0.05
"""Seconds of a turn; a single step may take longer."""

Failed = Callable[[Resident, Exception], None]


class Turns:
    """Threads that train, a turn at a time; as many devices wait in line as there are, each once."""

    def __init__(self, threads: int, failed: Failed) -> None:
        """`failed` is told what went wrong in a device's turn; its training waits until the device asks again."""
        self._line: deque[Resident] = deque()
        self._there: set[int] = set()
        self._again: set[int] = set()
        """Those that joined while they had their turn, which may have looked before what they joined for was there."""
        self._changed = threading.Condition()
        self._over, self._failed = False, failed
        self._threads = [threading.Thread(target=self._work, name=f"training-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def join(self, resident: Resident) -> None:
        """Stand in line, unless it does already."""
        with self._changed:
            if id(resident) in self._there:
                self._again.add(id(resident))
                return
            self._there.add(id(resident))
            resident.enter()
            self._line.append(resident)
            self._changed.notify()

    def waits(self, resident: Resident) -> bool:
        """Whether a device stands in line, or has its turn."""
        return id(resident) in self._there

    def close(self) -> None:
        """End after the turns that go on now."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _next(self) -> Resident | None:
        with self._changed:
            while not self._line and not self._over:
                self._changed.wait()
            return None if self._over else self._line.popleft()

    def _work(self) -> None:
        torch.set_grad_enabled(True)
        while (resident := self._next()) is not None:
            with self._changed:
                self._again.discard(id(resident))
            more = False
            try:
                more = resident.train(SLICE)
            except Exception as error:  # one device's trouble is not the others'
                self._failed(resident, error)
            finally:
                self._after(resident, more)

    def _after(self, resident: Resident, more: bool) -> None:
        with self._changed:
            if more or id(resident) in self._again:
                self._line.append(resident)
                self._changed.notify()
                return
            self._there.discard(id(resident))
        resident.leave()
