"""How fast a PAE server trains from its cache on disk, beside a bare loop over the same tensors in memory, in one run.

    python -m sidelight.benchmarks.limits.server_training [--samples 3200] [--repeats 5] [--least 0.80]

Both have the same side network, optimiser, batches of 64 in the same order, and samples; the loop has them in memory as
float32, and takes the network's equations as they are written, with autograd. They take turns, and the samples a second
of each pair are compared; of the ratios the median counts. Shapes: that of the default backbone with a bottleneck of
192, that of OPT-125M with 192 and with 16, 20 outputs, kept at fp16. The server takes its gradients by hand
(side_gradient.py), in another order of sums: the weights that both end with differ by at most APART of their length, or
the run fails. Exits with status 1 where a median is below --least.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...system.cache.disk import DiskCache
from ...system.errors import SidelightError
from ...system.message import Message
from ...system.protocols.batch_order import ordered
from ...system.protocols.pae_server import KINDS, PAEServer
from ...system.protocols.protocol import batches
from ...system.protocols.side_training import SideTraining, squared_error
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideNetwork, SideShape
from ..finding import Bench, Finding, Headline, ended
from ..memory.cache import QUOTA, batches_of, keep, sample_ids

SHAPES = {
    "sidelight-tiny": SideShape(6, 192, 192, 20),
    "OPT-125M": SideShape(12, 768, 192, 20),
    "OPT-125M, r = 16": SideShape(12, 768, 16, 20),
}
APART = 1e-4
"""Rounding errors of float32 are 1e-7, and grow over the steps of a training."""
LEAST = 0.80
STREAMS = Streams("benchmark")

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Pace:
    """Samples a second of both, pair by pair."""

    servers: Sequence[float]
    loops: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        return sorted(ours / theirs for ours, theirs in zip(self.servers, self.loops, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def server(self) -> float:
        return statistics.median(self.servers)

    @property
    def loop(self) -> float:
        return statistics.median(self.loops)

    def __str__(self) -> str:
        return f"{self.ratios[0]:.3f} to {self.ratios[-1]:.3f} in {len(self.servers)} pairs"


def served(folder: Path, shape: SideShape, samples: int, training: SideTraining) -> tuple[float, Weights]:
    """Seconds that a server trains, from the first batch to the last, and its weights."""
    cache = DiskCache(folder, QUOTA)
    server = PAEServer(shape, training, STREAMS)
    server.keep_in(cache)
    server.handle(Message("samples", DEVICE, SERVER, sample_ids=tuple(sample_ids(samples))))
    began = time.perf_counter()
    while server.step():
        pass
    seconds = time.perf_counter() - began
    cache.close()
    return seconds, dict(server.handle(Message("download", DEVICE, SERVER)).tensors)


def bare(tensors: dict[str, torch.Tensor], shape: SideShape, training: SideTraining) -> tuple[float, Weights]:
    """Seconds of a loop over tensors in memory, with nothing in it that training does not need."""
    ids = sample_ids(len(tensors[KINDS[0]]))
    places = {sample_id: place for place, sample_id in enumerate(ids)}
    epochs = [batches(ordered(STREAMS.seed, epoch, ids), training.batch) for epoch in range(training.epochs)]
    orders = [[[places[sample_id] for sample_id in batch] for batch in epoch] for epoch in epochs]
    network = SideNetwork(shape, STREAMS.torch("weights"))
    optimizer = training.optimizer(network)
    activations, targets = (tensors[kind] for kind in KINDS)
    began = time.perf_counter()
    for epoch, order in enumerate(orders):
        optimizer.param_groups[0]["lr"] = training.rate(epoch)
        for rows in order:
            optimizer.zero_grad()
            squared_error(network(activations[rows]), targets[rows]).backward()
            optimizer.step()
    return time.perf_counter() - began, dict(network.state_dict())


def pairs(shape: SideShape, samples: int, repeats: int, epochs: int) -> list[tuple[float, float]]:
    """Samples a second of the server and of the loop, which take turns; a first pair warms up and is left out."""
    training = SideTraining(bottleneck=shape.bottleneck, epochs=epochs)
    found = []
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        folder = Path(name) / "cache"
        keep(folder, shape, samples)
        parts = [rows for _, rows in batches_of(shape, samples)]
        tensors = {kind: torch.cat([part[kind] for part in parts]) for kind in KINDS}
        for _ in range(repeats + 1):
            ours, weights = served(folder, shape, samples, training)
            theirs, expected = bare(tensors, shape, training)
            if distance(weights, expected) > APART:
                raise SidelightError("server and loop end with other weights; they do not do the same work")
            found.append((epochs * samples / ours, epochs * samples / theirs))
    return found[1:]


def distance(weights: Weights, expected: Weights) -> float:
    """Of two networks, as a share of the length of the second's weights."""
    gap = sum(float((weights[name] - expected[name]).double().square().sum()) for name in expected)
    return math.sqrt(gap / sum(float(one.double().square().sum()) for one in expected.values()))


def measure(bench: Bench, samples: int = 3200, repeats: int = 5, epochs: int = 2, least: float = LEAST) -> Finding:
    """Every shape, with as many threads as torch has."""
    found = {}
    for name, shape in SHAPES.items():
        found[name] = Pace(*zip(*pairs(shape, samples, repeats, epochs), strict=True))
        bench.say(f"{name}: server over loop {found[name]}")
    return Finding(
        name="server_training",
        title="A server that trains, beside a bare loop",
        kind="measured",
        about=f"{samples:,} samples, {epochs} epochs, batches of 64; {repeats} pairs in turns, wall clock.",
        headlines=[
            Headline(f"{name}: samples a second of the server, over the loop's", pace.ratio, least, str(pace))
            for name, pace in found.items()
        ],
        rows=[
            {"shape": name, "server, samples a second": pace.server, "loop, samples a second": pace.loop}
            for name, pace in found.items()
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=3200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--least", type=float, default=LEAST, help="the ratio that is asked for")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return ended(measure(Bench(say=print), given.samples, given.repeats, given.epochs, given.least))


if __name__ == "__main__":
    sys.exit(main())
