"""A tuning's wire: to a server on the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..message import Message
from ..network.device_wire import Connection, DeviceWire
from ..roles import SERVER
from ..wire import Wire
from .order import Prepared
from .phases import Trained


@contextmanager
def open_wire(connection: Connection, ready: Prepared, trained: Trained) -> Iterator[Wire]:
    """A wire on which the server knows what is trained; raises SidelightError where it cannot be had."""
    wire = DeviceWire(connection, trained)
    try:
        wire.join(ready.protocol.agreed(ready.scene), ready.place)
        yield wire
    except BaseException:
        wire.close(drop=True)
        raise
    wire.close()


def forget(connection: Connection) -> None:
    """Have the server remove everything of a device: samples, and what was trained on them."""
    wire = DeviceWire(connection)
    try:
        wire.request(Message("forget", connection.name, SERVER))
    finally:
        wire.close()
