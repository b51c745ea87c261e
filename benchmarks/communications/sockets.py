"""A setting's run over gRPC on this machine, with every byte on the socket counted."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from ...system.backbone import load_backbone
from ...system.message import Party
from ...system.network.device_wire import Connection, DeviceWire
from ...system.network.logs import Log
from ...system.network.runs import Place
from ...system.network.server import ServerSettings
from ...system.protocols import Protocol, Scene
from ...system.wire import Traffic
from ..beside import beside
from .counting_proxy import counting
from .runs import protocol_of, scene_of
from .setting import Setting

SERVED = ("mesfl", "mobillm", "pae", "pae_lm", "split", "splitfed", "splitlora", "ushape")
"""Protocols that run over a network."""


class Seen(NamedTuple):
    """What one run sent."""

    messages: int
    """Bytes of all messages, as devices' wires count them."""
    socket: int
    """Bytes on the sockets: HTTP/2's and gRPC's own among them, TCP's and IP's not."""
    calls: int
    """Messages with their answers."""


def run(name: str, setting: Setting, backbone: str) -> Seen:
    """A whole run against a server on this machine, with a connection for each device."""
    loaded = load_backbone(backbone)
    protocol = protocol_of(name, setting, loaded)
    scene = scene_of(protocol, setting, loaded)
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        served = ServerSettings("localhost:0", Path(folder), backbone=backbone)
        with beside(served, Log(io.StringIO())) as port, counting(port) as counted:
            wires = _driven(protocol, scene, counted.port)
        traffic = [wire.traffic for wire in wires]
    return Seen(sum(map(_bytes, traffic)), counted.up + counted.down, sum(map(_calls, traffic)))


def _driven(protocol: Protocol, scene: Scene, port: int) -> list[DeviceWire]:
    """Each device in a thread of its own."""
    wires = {party: DeviceWire(Connection(f"localhost:{port}", name=party)) for party in scene.samples}
    failed: list[Exception] = []

    def drive(party: Party) -> None:
        try:
            wire = wires[party]
            wire.join(protocol.agreed(scene), Place("counted", party) if protocol.shared else None)
            for _ in protocol.device(scene, party).work(wire):
                pass
            wire.close()
        except Exception as error:
            failed.append(error)

    threads = [Thread(target=drive, args=(party,)) for party in wires]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return list(wires.values())


def _bytes(traffic: Traffic) -> int:
    return sum(traffic.bytes.values())


def _calls(traffic: Traffic) -> int:
    return sum(traffic.messages.values()) // 2
