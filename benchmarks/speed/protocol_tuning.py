"""A protocol as a contender: its own roles, and a wire that encodes, counts and decodes every message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...system.backbone import Backbone
from ...system.data import Sample
from ...system.protocols import Protocol, Scene
from ...system.protocols.protocol import interleave
from ...system.randomness import Streams
from ...system.roles import DEVICE
from ...system.wire import Wire
from .race import Contender, Predict


def contender(protocol: Protocol, backbone: Backbone, labels: tuple[str, ...], seed: str = "benchmark") -> Contender:
    """One device with all rows, and the servers, in this process; it stops once, at its end."""

    def work(samples: Sequence[Sample]) -> Iterator[Predict]:
        scene = Scene(backbone, labels, {DEVICE: tuple(samples)}, Streams(seed))
        device = protocol.device(scene, DEVICE)
        wire = Wire(protocol.servers(scene), lambda message: None)
        interleave([device], wire)
        yield device.predict

    return work
