"""How fast a PAE server trains from its cache on disk, beside bare loops over the same tensors in memory, in one run.

    python -m sidelight.benchmarks.limits.server_training [--samples 3200] [--repeats 5] [--least 0.80]

All have the same side network, optimiser, batches of 64 in the same order, and samples; the loops have them in memory
as float32. The loop that the bar is held against takes its gradients as the server does, by hand (side_gradient.py), so
that what is left are the cache and the server; the other takes the network's equations as they are written, with
autograd. They take turns in changing order, and the samples a second of each turn are compared; of the ratios the
median counts. Shapes: that of the default backbone with a bottleneck of 192, that of OPT-125M with 192 and with 16, 20
outputs, kept at fp16. Sums in another order round otherwise: the weights that all end with differ by at most APART of
their length, or the run fails. Exits with status 1 where a median is below --least.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ...system.cache.disk import DiskCache
from ...system.errors import SidelightError
from ...system.message import Message
from ...system.protocols.batch_order import ordered
from ...system.protocols.pae_server import KINDS, PAEServer
from ...system.protocols.protocol import batches
from ...system.protocols.side_gradient import SideGradient
from ...system.protocols.side_training import SideTraining, squared_error
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideNetwork, SideShape
from ..asked import answered, positive
from ..finding import Bench, Finding, Headline, ended
from ..memory.cache import QUOTA, batches_of, keep, sample_ids
from ..timing import in_turns

SHAPES = {
    "sidelight-tiny": SideShape(6, 192, 192, 20),
    "OPT-125M": SideShape(12, 768, 192, 20),
    "OPT-125M, r = 16": SideShape(12, 768, 16, 20),
}
APART = 1e-4
"""Rounding errors of float32 are 1e-7, and grow over the steps of a training."""
LEAST = 0.80
CONTENDERS = SERVED, LOOP, AUTOGRAD = "server", "a loop with the same gradient", "a loop with autograd"
STREAMS = Streams("benchmark")

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Pace:
    """Samples a second of each turn, by contender."""

    turns: Sequence[Mapping[str, float]]

    def median(self, name: str) -> float:
        return statistics.median(turn[name] for turn in self.turns)

    def over(self, name: str) -> list[float]:
        """The server's over another's, turn by turn, from the least."""
        return sorted(turn[SERVED] / turn[name] for turn in self.turns)

    def headline(self, shape: str, name: str, least: float | None) -> Headline:
        ratios = self.over(name)
        spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} turns"
        return Headline(
            f"{shape}: samples a second of the server, over {name}", statistics.median(ratios), least, spread
        )


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


def bare(
    tensors: dict[str, torch.Tensor], shape: SideShape, training: SideTraining, by_hand: bool
) -> tuple[float, Weights]:
    """Seconds of a loop over tensors in memory, with nothing in it that training does not need."""
    ids = sample_ids(len(tensors[KINDS[0]]))
    places = {sample_id: place for place, sample_id in enumerate(ids)}
    epochs = [batches(ordered(STREAMS.seed, epoch, ids), training.batch) for epoch in range(training.epochs)]
    orders = [[[places[sample_id] for sample_id in batch] for batch in epoch] for epoch in epochs]
    network = SideNetwork(shape, STREAMS.torch("weights"))
    optimizer = training.optimizer(network)
    activations, targets = (tensors[kind] for kind in KINDS)
    step = SideGradient(network) if by_hand else partial(differentiated, network)
    began = time.perf_counter()
    for epoch, order in enumerate(orders):
        optimizer.param_groups[0]["lr"] = training.rate(epoch)
        for rows in order:
            step(activations[rows], targets[rows])
            optimizer.step()
    return time.perf_counter() - began, dict(network.state_dict())


def differentiated(network: SideNetwork, activations: torch.Tensor, targets: torch.Tensor) -> None:
    """Gradients by autograd."""
    network.zero_grad()
    squared_error(network(activations), targets).backward()


def turns(shape: SideShape, samples: int, repeats: int, epochs: int) -> Pace:
    """All contenders in turns."""
    training = SideTraining(bottleneck=shape.bottleneck, epochs=epochs)
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        folder = Path(name) / "cache"
        keep(folder, shape, samples)
        parts = [rows for _, rows in batches_of(shape, samples)]
        tensors = {kind: torch.cat([part[kind] for part in parts]) for kind in KINDS}
        contenders = {
            SERVED: partial(served, folder, shape, samples, training),
            LOOP: partial(bare, tensors, shape, training, by_hand=True),
            AUTOGRAD: partial(bare, tensors, shape, training, by_hand=False),
        }
        ended = in_turns(contenders, repeats)
    expected = ended[LOOP][0][1]
    if any(distance(weights, expected) > APART for given in ended.values() for _, weights in given):
        raise SidelightError("server and loops end with other weights; they do not do the same work")
    paces = {name: [epochs * samples / took for took, _ in given] for name, given in ended.items()}
    return Pace([dict(zip(paces, turn, strict=True)) for turn in zip(*paces.values(), strict=True)])


def distance(weights: Weights, expected: Weights) -> float:
    """Of two networks, as a share of the length of the second's weights."""
    gap = sum(float((weights[name] - expected[name]).double().square().sum()) for name in expected)
    return math.sqrt(gap / sum(float(one.double().square().sum()) for one in expected.values()))


def measure(bench: Bench, samples: int = 3200, repeats: int = 5, epochs: int = 2, least: float = LEAST) -> Finding:
    """Every shape, with as many threads as torch has."""
    found = {}
    for name, shape in SHAPES.items():
        found[name] = turns(shape, samples, repeats, epochs)
        bench.say(f"{name}: server {found[name].median(SERVED):,.0f} samples a second")
    bars = ((LOOP, least), (AUTOGRAD, None))
    return Finding(
        name="server_training",
        title="A server that trains, beside bare loops",
        kind="measured",
        about=f"{samples:,} samples, {epochs} epochs, batches of 64; {repeats} turns, wall clock.",
        headlines=[pace.headline(shape, name, bar) for name, bar in bars for shape, pace in found.items()],
        rows=[
            {"shape": shape, **{f"{name}, samples a second": pace.median(name) for name in CONTENDERS}}
            for shape, pace in found.items()
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=positive, default=3200)
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--epochs", type=positive, default=2)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--least", type=float, default=LEAST, help="the ratio that is asked for")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return ended(measure(Bench(say=print), given.samples, given.repeats, given.epochs, given.least))


if __name__ == "__main__":
    sys.exit(answered(main))
