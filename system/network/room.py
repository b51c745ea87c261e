"""How much of requests a server holds at a time: who does not fit waits, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Bytes that requests may take together."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Wait for room and hold it; `size` is at most that of the room."""
        if self._line or size > self._left:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            place = (size, turn)
            self._line.append(place)
            try:
                await turn
            except asyncio.CancelledError:
                if place in self._line:
                    self._line.remove(place)
                else:  # it had been let in already
                    self._leave(size)
                raise
        else:
            self._left -= size
        try:
            yield
        finally:
            self._leave(size)

    def _leave(self, size: int) -> None:
        self._left += size
        while self._line and self._line[0][0] <= self._left:
            asked, turn = self._line.popleft()
            if turn.cancelled():
                continue
            self._left -= asked
            turn.set_result(None)
