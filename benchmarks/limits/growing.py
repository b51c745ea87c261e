"""Work of growing sizes: what a cost is measured of, by what grows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.cache.disk import DiskCache
from ...system.message import Message, decode, encode
from ...system.protocols.pae_server import KINDS, PAEServer
from ...system.protocols.side_gradient import SideGradient
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideNetwork, SideShape
from ..apart import forked
from ..memory.cache import PRECISION, QUOTA, keep, rows, sample_ids, train
from .machine import best, seconds

SAMPLES = (100, 1_000, 10_000, 30_000, 100_000)
MANY = 10_000
"""From here on, what is done once is small beside what is done for each sample."""
SHAPE = SideShape(layers=4, width=64, bottleneck=16, outputs=20)
"""Small, so that what is done for each sample shows beside the arithmetic."""
LAYERS, WIDTHS, CLASSES = (3, 6, 12, 24), (96, 192, 384, 768), (2, 20, 77, 150)
LENGTHS, DEVICES = (16, 64, 256, 512), (1, 4, 16)
BATCH, OF_DEVICE, TEXTS = 64, 640, 4
Costs = Callable[[int], Mapping[str, float]]
"""By name, what a size costs."""


@dataclass(frozen=True)
class Axis:
    """What grows, over which sizes, and what it costs."""

    name: str
    sizes: Sequence[int]
    costs: Costs
    unit: str = "processor seconds"


def axes(backbone: str) -> list[Axis]:
    """All of them, samples first."""
    return [
        Axis("samples", SAMPLES, of_samples),
        Axis("samples", SAMPLES, of_memory, "bytes"),
        Axis("layers", LAYERS, lambda size: step(replace(SHAPE, layers=size, width=192))),
        Axis("width", WIDTHS, lambda size: step(replace(SHAPE, width=size))),
        Axis("classes", CLASSES, lambda size: step(replace(SHAPE, outputs=size))),
        Axis("tokens of a text", LENGTHS, partial(device, load_backbone(backbone))),
        Axis("devices", DEVICES, of_devices),
    ]


# --- samples ---------------------------------------------------------------------------------------------------


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        yield Path(name) / "cache"


def server_of(cache: DiskCache) -> PAEServer:
    server = PAEServer(SHAPE, SideTraining(bottleneck=SHAPE.bottleneck, epochs=1), Streams("benchmark"))
    server.keep_in(cache)
    return server


def epoch(server: PAEServer) -> None:
    while server.step():
        pass


def of_samples(size: int) -> dict[str, float]:
    """A PAE server's work on so many samples, and their messages."""
    samples = Message("samples", DEVICE, SERVER, sample_ids=tuple(sample_ids(size)))
    with folder() as path:
        kept = seconds(lambda: keep(path, SHAPE, size))
        cache = DiskCache(path, QUOTA)
        server = server_of(cache)
        found = {
            "cache: keeping rows": kept,
            "server: told of samples, says which are wanted": seconds(lambda: server.handle(samples)),
            "server: an epoch from the cache": seconds(lambda: epoch(server)),
        }
        cache.close()
    return {**found, "wire: messages encoded and decoded": carried(size)}


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


def of_memory(size: int) -> dict[str, float]:
    """The peak of a server that trains from its cache, in a process of its own, above what it was before."""
    with folder() as path:
        forked(partial(keep, path, SHAPE, size))
        found = forked(partial(train, path, SHAPE, size, 1))
    return {"server: memory of an epoch": float(found["peak"] - found["before"])}


# --- others ----------------------------------------------------------------------------------------------------


def step(shape: SideShape) -> dict[str, float]:
    """A batch at hand: forwards, backwards, AdamW."""
    generator = torch.Generator().manual_seed(0)
    network = SideNetwork(shape, generator)
    gradient, optimizer = SideGradient(network), SideTraining(bottleneck=shape.bottleneck).optimizer(network)
    batch = rows(shape, BATCH, generator)

    def work() -> None:
        for _ in range(20):
            gradient(batch[KINDS[0]], batch[KINDS[1]])
            optimizer.step()

    return {"server: a batch": best(work, 3) / 20}


@torch.no_grad()
def device(backbone: Backbone, length: int) -> dict[str, float]:
    """A pass over texts of so many tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, backbone.vocabulary, (TEXTS, length), generator=generator).tolist()
    tokens = backbone.pad(ids)
    return {"device: a pass": best(lambda: backbone.pivots(tokens, "last"), 3)}


def of_devices(size: int) -> dict[str, float]:
    """A server of so many devices trains an epoch for each, each with as many samples."""
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        folders = [Path(name) / f"device-{place}" for place in range(size)]
        for path in folders:
            keep(path, SHAPE, OF_DEVICE)
        return {"server: an epoch for each device": seconds(lambda: _served(folders))}


def _served(folders: Sequence[Path]) -> None:
    samples = Message("samples", DEVICE, SERVER, sample_ids=tuple(sample_ids(OF_DEVICE)))
    for path in folders:
        cache = DiskCache(path, QUOTA)
        server = server_of(cache)
        server.handle(samples)
        epoch(server)
        cache.close()
