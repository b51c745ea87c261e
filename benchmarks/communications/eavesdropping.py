"""What an eavesdropper on a real TLS connection sees of a device: sizes, beside the model of them, and times.

    python -m sidelight.benchmarks.communications.eavesdropping [--texts 200] [--most 0.03]

A device sends every text in a message of its own to `sidelight serve`'s server over loopback, through a proxy that
counts bytes and notes when they pass, and waits for each answer. Audits record sizes by a model (system/packets.py) and
no times: this measures how far the model is off, and how well the time between two messages orders the texts by length
(Spearman's rank correlation, with a bootstrap interval), which no size of `pae` does. Times are of this machine and of
what else runs on it. Exits with status 1 where the bytes of messages that carry texts are more than --most from the
model's.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from scipy.stats import bootstrap, spearmanr

from ...system.backbone import TINY, load_backbone
from ...system.message import Message
from ...system.network.device_wire import Connection, DeviceWire
from ...system.network.logs import Log
from ...system.network.server import ServerSettings
from ...system.packets import carried
from ...system.protocols import Protocol, Scene
from ...system.protocols.mobillm import MobiLLM
from ...system.protocols.pae import PAE
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import DEVICE
from ..asked import answered, positive
from ..beside import beside
from ..finding import Bench
from ..material import rows
from .counting_proxy import Counted, counting
from .message_overhead import certified

SETTLED = 0.0005
"""Seconds after an answer in which what HTTP/2 says behind it passes."""
RESAMPLES = 999


class Packet(NamedTuple):
    """A message with what was seen of it."""

    sample_id: str
    message_bytes: int
    seen_bytes: int
    began: float


class Watched(DeviceWire):
    """Notes what passes the proxy for each message of activations."""

    def __init__(self, connection: Connection, counted: Counted) -> None:
        super().__init__(connection)
        self._counted = counted
        self.packets: list[Packet] = []

    def post(self, message: Message) -> None:
        self.request(message)  # one after another, as a device would that waits for each answer

    def _carry(self, message: Message, data: bytes) -> Message:
        time.sleep(SETTLED)
        before, began = self._counted.up, time.perf_counter()
        answer = super()._carry(message, data)
        if message.kind == "activations":
            self.packets.append(Packet(message.sample_ids[0], len(data), self._counted.up - before, began))
        return answer


def watched(protocol: Protocol, scene: Scene, folder: Path) -> list[Packet]:
    """What is seen of a whole upload over TLS."""
    with certified(folder) as (cert, key, ca):
        settings = ServerSettings("localhost:0", folder / protocol.name, tls_cert=cert, tls_key=key)
        with beside(settings, Log(io.StringIO())) as port, counting(port) as counted:
            wire = Watched(Connection(f"localhost:{counted.port}", tls_ca=ca), counted)
            wire.join(protocol.agreed(scene))
            for _ in protocol.device(scene, DEVICE).work(wire):
                pass
            wire.close()
    return wire.packets


def ordered_by_time(packets: list[Packet], lengths: dict[str, int]) -> tuple[float, float, float]:
    """Rank correlation of a text's length with the time from the message before it to its own, with 95 % interval."""
    gaps = [after.began - before.began for before, after in pairwise(packets)]
    asked = numpy.array([lengths[packet.sample_id] for packet in packets[1:]])

    def rank(x: numpy.ndarray, y: numpy.ndarray) -> float:
        return float(spearmanr(x, y).statistic)

    found = bootstrap(
        (asked, numpy.array(gaps)),
        rank,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=numpy.random.default_rng(0),
    )
    return rank(asked, numpy.array(gaps)), *found.confidence_interval


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=positive, default=200)
    parser.add_argument("--most", type=float, default=0.03, help="that sizes may be from the model's, as a share")
    given = parser.parse_args()
    torch.set_num_threads(1)
    backbone, parts = load_backbone(TINY), rows(Bench(), given.texts, 40)
    scene = Scene(backbone, parts.labels, {DEVICE: parts.victim_train}, Streams("eavesdropping"))
    lengths = {row.id: len(backbone.token_ids(row.text)) for row in parts.victim_train}
    once = SideTraining(bottleneck=4, epochs=1, batch=1)
    furthest = 0.0
    with tempfile.TemporaryDirectory(prefix="sidelight-") as root:
        for protocol in (PAE(batch=1, side=once), MobiLLM(side=once)):
            packets = watched(protocol, scene, Path(root))
            seen = sum(packet.seen_bytes for packet in packets)
            modelled = sum(carried(packet.message_bytes) for packet in packets)
            sizes = {packet.seen_bytes for packet in packets}
            rank, low, high = ordered_by_time(packets, lengths)
            furthest = max(furthest, abs(seen / modelled - 1))
            print(
                f"{protocol.name}: {len(packets)} messages of one text, {min(sizes):,} to {max(sizes):,} bytes up; "
                f"in all {seen:,}, modelled {modelled:,} ({100 * (seen / modelled - 1):+.2f} %); "
                f"length against time: {rank:.3f} [{low:.3f}, {high:.3f}]"
            )
    return 0 if furthest <= given.most else 1


if __name__ == "__main__":
    sys.exit(answered(main))
