"""What messages cost beyond the tensors they carry, and what HTTP/2 and TLS cost beyond the messages.

    python -m sidelight.benchmarks.communications.message_overhead [--samples 512] [--most 0.01]

A `pae` device with a backbone of 12 blocks of width 768, random weights, sends batches of 16 samples at fp16 to a
server over loopback, through a proxy that counts bytes: once in plain text, once over TLS. Message bytes are all
messages' of the upload, announcement and answers included; tensor bytes are activations and differences alone.
Everything is counted, nothing is modelled. Exits with status 1 where messages are more than --most above the tensors.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.errors import UsageError
from ...system.network.device_wire import Connection, DeviceWire
from ...system.network.logs import Log
from ...system.network.server import ServerSettings
from ...system.protocols import Scene
from ...system.protocols.pae import PAE
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ..asked import answered, positive
from ..beside import beside
from ..finding import Bench
from ..material import random_opt, rows
from .counting_proxy import counting

BLOCKS, WIDTH, BATCH, VALUE = 12, 768, 16, 2
"""Sizes of what crosses; bytes of a value at fp16."""
KINDS = ("samples", "activations", "difference")
"""The upload's messages; each has an answer."""


class Cost(NamedTuple):
    """Bytes of one upload."""

    tensors: int
    messages: int
    socket: int


def protocol() -> PAE:
    """As small a training as there is: it is not what is measured."""
    return PAE(precision="fp16", batch=BATCH, longest=16, side=SideTraining(bottleneck=1, epochs=1))


def scene(backbone: Backbone, samples: int) -> Scene:
    parts = rows(Bench(), samples, 40)
    return Scene(backbone, parts.labels, {DEVICE: parts.victim_train}, Streams("overhead"))


def upload(connection: Connection, made: Scene) -> tuple[int, int]:
    """Send all samples; bytes of the tensors, and of the messages both ways."""
    wire = DeviceWire(connection)
    wire.join(protocol().agreed(made))
    before = wire.traffic.sent_by(DEVICE) + wire.traffic.received_by(DEVICE)
    device = protocol().device(made, DEVICE)
    work = device.work(wire)
    count = len(made.samples[DEVICE])
    for _ in range(-(-count // BATCH)):
        next(work)
    wire.close()  # waits for what was posted
    assert wire.traffic.messages["difference", DEVICE, SERVER] == -(-count // BATCH)
    sent = wire.traffic.sent_by(DEVICE) + wire.traffic.received_by(DEVICE) - before
    return count * (BLOCKS * WIDTH + len(made.labels)) * VALUE, sent


@contextmanager
def certified(folder: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Certificate, key and authority of this run alone, as files."""
    try:
        import trustme
    except ImportError:
        raise UsageError("TLS is measured with certificates made by trustme; install sidelight[dev]") from None
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key, ca = folder / "cert.pem", folder / "key.pem", folder / "ca.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    yield cert, key, ca


def measured(made: Scene, folder: Path, secure: bool) -> Cost:
    """One upload, in plain text or over TLS."""
    with certified(folder) as (cert, key, ca):
        settings = ServerSettings(
            "localhost:0",
            folder / ("tls" if secure else "plain"),
            tls_cert=cert if secure else None,
            tls_key=key if secure else None,
        )
        with beside(settings, Log(io.StringIO())) as port, counting(port) as counted:
            connection = Connection(f"localhost:{counted.port}", tls_ca=ca if secure else None)
            tensors, messages = upload(connection, made)
    return Cost(tensors, messages, counted.up + counted.down)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=positive, default=512)
    parser.add_argument("--most", type=float, default=0.01, help="messages above their tensors, as a share")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="sidelight-") as root:
        folder = Path(root)
        made = scene(load_backbone(random_opt(folder / "model")), given.samples)
        plain, tls = (measured(made, folder, secure) for secure in (False, True))
    above = plain.messages / plain.tensors - 1
    print(f"{len(made.samples[DEVICE])} samples, {BLOCKS} blocks of width {WIDTH}, fp16, batches of {BATCH}")
    print(f"tensors {plain.tensors:,} bytes; messages {plain.messages:,}: {100 * above:.3f} % above")
    for name, cost in (("HTTP/2", plain), ("HTTP/2 and TLS", tls)):
        beyond = 100 * (cost.socket / cost.messages - 1)
        print(f"{name}: {cost.socket:,} bytes on the socket: {beyond:.3f} % above messages")
    return 0 if above <= given.most else 1


if __name__ == "__main__":
    sys.exit(answered(main))
