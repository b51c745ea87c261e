"""A device that does what it should, at a running server, and knows the weights that it must end with."""

from __future__ import annotations

import torch

from ...system.backbone import TINY, load_backbone
from ...system.message import Message, encode
from ...system.network.device_wire import Connection, DeviceWire
from ...system.protocols import Protocol, Scene, interleave
from ...system.protocols.agreed import Agreed
from ...system.protocols.mobillm import MobiLLM
from ...system.protocols.pae import PAE
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER, Device
from ...system.wire import Wire
from .recorded import LABELS, SAMPLES, SMALL


class Honest:
    """Two protocols on a few samples: one whose server keeps what came on its disk, and one whose server does not."""

    def __init__(self, backbone: str = TINY) -> None:
        """Runs both in one process."""
        self.protocols: tuple[Protocol, ...] = (
            PAE(side=SMALL["side"], batch=2, longest=4),
            MobiLLM(side=SMALL["side"], longest=4),
        )
        streams = Streams("ab")
        parties = self.protocols[0].parties(SAMPLES, streams)
        self._scene = Scene(load_backbone(backbone), LABELS, parties, streams)
        self.frames: list[bytes] = []
        """What it sends in both."""
        self._expected = [self._here(protocol) for protocol in self.protocols]

    def agreed(self, which: int) -> Agreed:
        """The terms of one of the protocols."""
        return self.protocols[which % len(self.protocols)].agreed(self._scene)

    def _here(self, protocol: Protocol) -> dict[str, torch.Tensor]:
        roles = protocol.roles(self._scene)
        wire = Wire(roles, self._hear)
        interleave([role for role in roles.values() if isinstance(role, Device)], wire)
        return dict(roles[SERVER].held()["tuned"])

    def _hear(self, message: Message) -> None:
        if message.sender == DEVICE:
            self.frames.append(encode(message))

    def trains(self, port: int, which: int) -> bool:
        """Whether a whole run, from joining to being forgotten, ends with the weights of a run in one process."""
        wire = DeviceWire(Connection(f"localhost:{port}", "honest"))
        try:
            wire.join(self.agreed(which))
            device = self.protocols[which].device(self._scene, DEVICE)
            for _ in device.work(wire):
                pass
            got = wire.request(Message("download", DEVICE, SERVER)).tensors
            wire.request(Message("forget", DEVICE, SERVER))
        finally:
            wire.close()
        expected = self._expected[which]
        return got.keys() == expected.keys() and all(torch.equal(got[name], expected[name]) for name in expected)
