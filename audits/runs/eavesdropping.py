"""A run as an eavesdropper on the connections sees it.

It knows no sample's id. It numbers what passes, and only the harness knows which number was which sample: the truth of
such a run names each row by the number under which it crossed first. A message's samples have as many numbers as there
are, which the protocol's batch says anyway; that a message holds activations is told by its size and place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ...system.data import Sample
from ...system.message import Message, Party
from ...system.packets import packet

CARRIES = "activations"


class Tap:
    """Hears messages and keeps packets."""

    def __init__(self, keep: Callable[[Message], None], devices: Iterable[Party]) -> None:
        self._keep, self._devices = keep, frozenset(devices)
        self._passed = 0
        self._numbers: dict[str, str] = {}

    def __call__(self, message: Message) -> None:
        up = message.sender in self._devices
        numbers = self._numbered(message) if up and CARRIES in message.tensors else ()
        self._keep(packet(message, message.sender if up else message.receiver, numbers))
        self._passed += 1

    def _numbered(self, message: Message) -> tuple[str, ...]:
        numbers = tuple(f"{self._passed:08x}{place:08x}" for place in range(len(message.sample_ids)))
        for sample_id, number in zip(message.sample_ids, numbers, strict=True):
            self._numbers.setdefault(sample_id, number)
        return numbers

    def numbered(self, rows: Iterable[Sample]) -> tuple[Sample, ...]:
        """Rows under the numbers by which they crossed first; those that never did, under their ids."""
        return tuple(replace(row, id=self._numbers.get(row.id, row.id)) for row in rows)
