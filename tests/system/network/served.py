"""A server in a thread of the test's own process, what it logs, and devices that call it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sidelight.benchmarks.beside import beside
from sidelight.system.network.device_wire import Connection, DeviceWire
from sidelight.system.network.logs import Log
from sidelight.system.network.server import ServerSettings
from sidelight.system.protocols import Protocol, Scene
from sidelight.system.roles import DEVICE, Device


@dataclass
class Served:
    """A server that is up."""

    port: int
    log: io.StringIO

    def connection(self, name: str = "device", **settings: Any) -> Connection:
        return Connection(f"localhost:{self.port}", name, **{"patience": 5.0, "silence": 5.0, **settings})

    @contextmanager
    def wire(self, name: str = "device", **settings: Any) -> Iterator[DeviceWire]:
        """A device's wire; hung up at the end."""
        made = DeviceWire(self.connection(name, **settings))
        try:
            yield made
        finally:
            made.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@contextmanager
def serving(store: Path, **settings: Any) -> Iterator[Served]:
    """A server on a free port of this machine, ended in good order."""
    log = io.StringIO()
    with beside(ServerSettings(settings.pop("listen", "localhost:0"), store, **settings), Log(log)) as port:
        yield Served(port, log)


def tuned(device: Device) -> dict[str, torch.Tensor]:
    """What a device downloaded."""
    side = getattr(device, "_side")  # noqa: B009 - devices of all protocols that have one
    return {name: tensor.detach() for name, tensor in side.state_dict().items()}


def worked(wire: DeviceWire, protocol: Protocol, scene: Scene) -> Device:
    """A device's whole run over a wire."""
    wire.join(protocol.agreed(scene))
    device = protocol.device(scene, DEVICE)
    for _ in device.work(wire):
        pass
    return device


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
