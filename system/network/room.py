"""How much of requests a server holds at a time, and how many of one device: who does not fit waits, in order."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
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


class Places:
    """So many for each device, of whatever name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rooms: dict[str, Room] = {}
        self._there: Counter[str] = Counter()

    @asynccontextmanager
    async def taken(self, device: str) -> AsyncIterator[None]:
        """Wait for a place of a device's and hold it."""
        room = self._rooms.setdefault(device, Room(self._most))
        self._there[device] += 1
        try:
            async with room.taken(1):
                yield
        finally:
            self._there[device] -= 1
            if not self._there[device]:  # names are many, and no trace of them is kept
                del self._there[device], self._rooms[device]
