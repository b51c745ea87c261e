"""A device that sends made-up activations as `pae` does, and tells how long it took: the far end of a shaped link.

    python -m sidelight.benchmarks.communications.far_device HOST:PORT SAMPLES

Nothing is computed: what takes time is the link, and the server's work.
"""

from __future__ import annotations

import sys
import time

import torch

from ...system.message import Message
from ...system.network.device_wire import Connection, DeviceWire
from ...system.protocols.agreed import Agreed, SideAgreed
from ...system.protocols.side_training import SideTraining
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideShape
from ...system.wire import Wire
from .setting import Setting
from .shapes import SHAPES

SETTING = Setting(SHAPES["OPT-125M"], epochs=1)


def main() -> int:
    torch.set_num_threads(1)
    samples = int(sys.argv[2])
    wire = DeviceWire(Connection(sys.argv[1], plain_text=True))
    states = torch.randn(SETTING.batch, SETTING.shape.blocks, SETTING.shape.width, generator=torch.Generator())
    began = time.monotonic()
    wire.join(agreed())
    send(wire, samples, states)
    wire.close()
    print(time.monotonic() - began)
    return 0


def agreed() -> Agreed:
    """What is trained, which is not what is measured."""
    shape = SideShape(SETTING.shape.blocks, SETTING.shape.width, SETTING.rank, SETTING.classes)
    training = SideTraining(bottleneck=SETTING.rank, epochs=SETTING.epochs, batch=SETTING.batch)
    return Agreed("pae", "c0", SideAgreed(shape, training))


def send(wire: Wire, samples: int, states: torch.Tensor) -> None:
    """Announce, send the states (batch, L, d) again and again, let train, download."""
    ids = [f"{at:016x}" for at in range(samples)]
    wire.request(Message("samples", DEVICE, SERVER, sample_ids=tuple(ids)))
    told = torch.zeros(len(states), SETTING.classes)
    for at in range(0, samples, SETTING.batch):
        some = tuple(ids[at : at + SETTING.batch])
        for kind, tensor in (("activations", states), ("difference", told)):
            wire.request(
                Message(kind, DEVICE, SERVER, sample_ids=some, tensors={kind: tensor[: len(some)]}, precision="fp16")
            )
    wire.request(Message("train", DEVICE, SERVER))
    wire.request(Message("download", DEVICE, SERVER))


if __name__ == "__main__":
    sys.exit(main())
