"""What samples, the sizes of a side network and devices cost a server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from ...system.backbone import Backbone
from ...system.cache.disk import DiskCache
from ...system.message import Message, Party, decode, encode
from ...system.protocols.alignment import Kind, taps
from ...system.protocols.arrival_server import ArrivalServer
from ...system.protocols.fedmobillm import FedMobiLLM
from ...system.protocols.fleet import Fleet
from ...system.protocols.pae_server import KINDS, PAEServer
from ...system.protocols.side_gradient import SideGradient
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideNetwork, SideShape
from ..apart import forked
from ..memory.cache import PRECISION, QUOTA, keep, rows, sample_ids, train
from ..memory.resident import mark, peak, resident
from ..timing import best, seconds

SHAPE = SideShape(layers=4, width=64, bottleneck=16, outputs=20)
"""Small, so that what is done for each sample shows beside the arithmetic."""
BATCH, OF_DEVICE, SOME = 64, 640, 2_000
TRAINING = SideTraining(bottleneck=SHAPE.bottleneck, epochs=1)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        yield Path(name) / "cache"


# --- samples ---------------------------------------------------------------------------------------------------


def of_samples(size: int) -> dict[str, float]:
    """Seconds of a PAE server on so many samples, and of their messages."""
    samples = Message("samples", DEVICE, SERVER, sample_ids=tuple(sample_ids(size)))
    with folder() as path:
        kept = seconds(lambda: keep(path, SHAPE, size))
        cache = DiskCache(path, QUOTA)
        server = PAEServer(SHAPE, TRAINING, Streams("benchmark"))
        server.keep_in(cache)
        found = {
            "cache: keeping rows": kept,
            "server: told of samples, says which are wanted": seconds(lambda: server.handle(samples)),
            "server: an epoch from the cache": seconds(lambda: epoch(server)),
        }
        cache.close()
    return {**found, "wire: messages encoded and decoded": carried(size)}


def epoch(server: PAEServer) -> None:
    while server.step():
        pass


def carried(size: int) -> float:
    """Differences of so many samples with their ids, in messages as a device sends them."""
    values = torch.randn(size, SHAPE.outputs, generator=torch.Generator().manual_seed(0))
    ids = tuple(sample_ids(size))
    cut = [slice(at, at + BATCH) for at in range(0, size, BATCH)]
    messages = [
        Message(KINDS[1], DEVICE, SERVER, sample_ids=ids[some], tensors={KINDS[1]: values[some]}, precision=PRECISION)
        for some in cut
    ]
    return best(lambda: [decode(encode(message)) for message in messages], 3)


# --- the side network's sizes ----------------------------------------------------------------------------------


def step(shape: SideShape) -> dict[str, float]:
    """Seconds of a batch at hand: forwards, backwards, AdamW."""
    generator = torch.Generator().manual_seed(0)
    network = SideNetwork(shape, generator)
    gradient, optimizer = SideGradient(network), TRAINING.optimizer(network)
    batch = rows(shape, BATCH, generator)

    def work() -> None:
        for _ in range(20):
            gradient(batch[KINDS[0]], batch[KINDS[1]])
            optimizer.step()

    return {"server: a batch": best(work, 3) / 20}


def memory(shape: SideShape, samples: int = SOME) -> dict[str, float]:
    """The peak of a server that trains from its cache, in a process of its own, above what it was before."""
    with folder() as path, folder() as small:
        forked(partial(keep, path, shape, samples))
        forked(partial(keep, small, SHAPE, BATCH))
        found = forked(partial(_trained, small, path, shape, samples))
    return {"server: memory of an epoch": float(found["peak"] - found["before"])}


def _trained(small: Path, path: Path, shape: SideShape, samples: int) -> dict[str, float]:
    """After a small one, so that what libraries take when they are first needed is not counted."""
    train(small, SHAPE, BATCH, 1)
    return train(path, shape, samples, 1)


# --- devices ---------------------------------------------------------------------------------------------------


def of_devices(backbone: Backbone, devices: int) -> dict[str, float]:
    """Processor seconds of one server that trains on what so many devices send, each as many samples."""
    return {"server of several: arrivals and an epoch": forked(partial(_served, backbone, devices))["seconds"]}


def memory_of_devices(backbone: Backbone, devices: int) -> dict[str, float]:
    """The most that it holds: it keeps what arrives."""
    return {"server of several: memory": forked(partial(_served, backbone, devices))["bytes"]}


def _served(backbone: Backbone, devices: int) -> dict[str, float]:
    """After a device that is not counted, for what libraries take."""
    _serve(backbone, 1)
    return _serve(backbone, devices)


def _serve(backbone: Backbone, devices: int) -> dict[str, float]:
    layers = taps(len(backbone.blocks), len(backbone.blocks))
    shape = SideShape(len(layers), backbone.width, TRAINING.bottleneck, SHAPE.outputs)
    parties = [f"device-{number}" for number in range(devices)]
    arriving = [message for party in parties for message in _sent(party, shape)]
    before, began = resident(), time.process_time()
    mark()
    server = ArrivalServer(
        SideNetwork(shape, torch.Generator().manual_seed(0)),
        dict.fromkeys(parties, Kind(backbone, len(layers), layers, "")),
        shape.outputs,
        FedMobiLLM(side=TRAINING, fleet=Fleet(devices)),
        "benchmark",
    )
    for message in arriving:
        server.handle(decode(message))
    assert not server.incidents()
    return {"seconds": time.process_time() - began, "bytes": float(peak() - before)}


def _sent(party: Party, shape: SideShape) -> Sequence[bytes]:
    """A device's samples, and that these are all."""
    generator, ids = torch.Generator().manual_seed(0), tuple(sample_ids(OF_DEVICE))
    sent = []
    for at in range(0, OF_DEVICE, BATCH):
        for kind, tensor in rows(shape, BATCH, generator).items():
            some = ids[at : at + BATCH]
            sent.append(Message(kind, party, SERVER, sample_ids=some, tensors={kind: tensor}, precision=PRECISION))
    return [encode(one) for one in (*sent, Message("done", party, SERVER))]
