"""How near the project comes to what arithmetic and memory allow: each figure beside its bound, measured in turns.

The server's bar: cached epochs of PAE's server (activations of OPT-125M's shape, 12 x 768, at fp16, r = 16, K = 20,
batches of 64; cache on disk, forwards, backwards, AdamW) at 40 % or more of the arithmetic bound of `bounds.py`. Every
figure's seconds are of the processor, the best of some turns, as the rates are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ...system.backbone import load_backbone
from ...system.cache.disk import DiskCache
from ...system.fusion import pivot_activations
from ...system.message import Message, decode, encode
from ...system.protocols.pae_server import KINDS, PAEServer
from ...system.protocols.side_gradient import SideGradient
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideNetwork, SideShape
from ..finding import Bench, Cell, Finding, Headline, Table
from ..material import rows as texts_of
from ..memory.cache import PRECISION, QUOTA, keep, rows, sample_ids
from ..operations import counter
from ..timing import best, in_turns, seconds
from . import server_training
from .bounds import HALF, Bound, cache_read, server_step
from .machine import Machine, measured, one_thread

SHAPE = SideShape(layers=12, width=768, bottleneck=16, outputs=20)
BATCH, SAMPLES, STEPS = 64, 3_200, 20
TURNS = 7
LEAST = 40.0
"""Per cent of the arithmetic bound that cached epochs are asked to reach."""
TEXTS, LONGEST = 64, 64
Work = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """A piece of work with its bound."""

    name: str
    seconds: float
    bound: Bound

    def share(self, machine: Machine) -> float:
        """Per cent of the arithmetic bound, or of memory's where there are no products."""
        least = self.bound.arithmetic(machine) if self.bound.operations else self.bound.memory(machine)
        return 100 * least / self.seconds

    def row(self, machine: Machine) -> dict[str, Cell]:
        bound, products = self.bound, self.bound.operations > 0
        return {
            "figure": self.name,
            "ms": 1e3 * self.seconds,
            "products at the peak, ms": 1e3 * bound.arithmetic(machine) if products else None,
            "bytes at copying speed, ms": 1e3 * bound.memory(machine) if bound.moved else None,
            "% of the arithmetic bound": self.share(machine) if products else None,
            "% of the roofline": 100 * bound.roofline(machine) / self.seconds if bound.moved else None,
        }


def measure(bench: Bench) -> Finding:
    """The machine's rates and every figure beside them."""
    with one_thread():
        bench.say("the machine")
        machine = measured(SHAPE, BATCH)
        bench.say("the server, the wire, the device")
        figures = [*server_figures(), *wire_figures(), device_figure(bench)]
        training = server_training.measure(bench)
    return Finding(
        name="limits",
        title="How near to what the machine allows",
        kind="measured",
        about=(
            f"Side network 12 x 768, r = 16, K = 20, batches of {BATCH}, {SAMPLES} samples at fp16 in a cache on disk; "
            f"the device: {bench.model}, {TEXTS} texts of at most {LONGEST} tokens. One thread; the "
            f"best of {TURNS} turns."
        ),
        headlines=[bar(machine, figures[0]), *training.headlines],
        rows=[one.row(machine) for one in figures],
        notes=[*rates(machine), *REMARKS, f"{training.title}: {training.about}"],
        tables=[Table(training.title, training.rows)],
    )


REMARKS = (
    "The arithmetic bound is the time of the matrix products that are needed, at the highest rate of any product in "
    "this run; the roofline is the longer of that and of the time in which the bytes that must move are copied.",
    "Not counted in any bound, and done by all: normalising, mixing, activation functions, calls of the interpreter.",
)


def bar(machine: Machine, epoch: Figure) -> Headline:
    """Cached epochs beside their bounds."""
    least, roofline = epoch.bound.arithmetic(machine), epoch.bound.roofline(machine)
    allowed = 100 * least / roofline
    note = f"the roofline allows {allowed:.0f} %, of which this is {100 * roofline / epoch.seconds:.0f} %"
    return Headline("cached epochs, in % of the arithmetic bound", epoch.share(machine), LEAST, note)


def rates(machine: Machine) -> Iterator[str]:
    """What the machine reached, one line each."""
    products = ", ".join(f"{shape}: {rate / 1e9:.0f}" for shape, rate in machine.products.items())
    yield f"Matrix products of float32, GFLOP a second: {products}."
    yield (
        f"Memory, GB a second: copied {machine.copying / 1e9:.1f}, read {machine.reading / 1e9:.1f}; "
        f"loopback socket {machine.socket / 1e9:.2f}."
    )


# --- the server ------------------------------------------------------------------------------------------------


def server_figures() -> list[Figure]:
    """A cached epoch, a batch, what it is made of, and the plain formulation of it."""
    with filled(SHAPE, SAMPLES) as cache:
        works = {**epoch_work(cache), **step_works()}
        found = {name: min(given) for name, given in in_turns(works, TURNS).items()}
    whole = server_step(SHAPE, BATCH)
    bounds = {EPOCH: whole, PLAIN: whole, STEP: whole, READ: cache_read(SHAPE, BATCH)}
    return [Figure(name, found[name], bound) for name, bound in bounds.items()]


EPOCH, READ = "server: cached epoch, a batch", "server: reading a batch from the cache"
STEP, PLAIN = "server: a batch at hand, forwards, backwards, AdamW", "the same by autograd, as the equations stand"


@contextmanager
def filled(shape: SideShape, samples: int) -> Iterator[DiskCache]:
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        folder = Path(name) / "cache"
        keep(folder, shape, samples)
        cache = DiskCache(folder, QUOTA)
        yield cache
        cache.close()


def server_of(shape: SideShape, samples: int, cache: DiskCache, epochs: int) -> PAEServer:
    """Told of all samples, about to train."""
    server = PAEServer(shape, SideTraining(bottleneck=shape.bottleneck, epochs=epochs), Streams("benchmark"))
    server.keep_in(cache)
    server.handle(Message("samples", DEVICE, SERVER, sample_ids=tuple(sample_ids(samples))))
    return server


def epoch_work(cache: DiskCache) -> dict[str, Callable[[], float]]:
    """Seconds a batch of an epoch, and of its reading alone."""
    server = server_of(SHAPE, SAMPLES, cache, epochs=2 * TURNS + 2)
    ids, count = sample_ids(SAMPLES), SAMPLES // BATCH

    def epoch() -> float:
        return seconds(lambda: [server.step() for _ in range(count)]) / count

    def read() -> float:
        cut = [ids[at : at + BATCH] for at in range(0, SAMPLES, BATCH)]
        return seconds(lambda: [cache.kept(kind, some) for some in cut for kind in KINDS]) / count

    return {EPOCH: epoch, READ: read}


def step_works() -> dict[str, Callable[[], float]]:
    """Seconds of a batch that is at hand, by hand and by autograd."""
    generator = torch.Generator().manual_seed(0)
    batches = [rows(SHAPE, BATCH, generator) for _ in range(STEPS)]
    kept = [(one[KINDS[0]].half(), one[KINDS[1]].half()) for one in batches]
    training = SideTraining(bottleneck=SHAPE.bottleneck)
    ours, plain = (SideNetwork(SHAPE, torch.Generator().manual_seed(0)) for _ in range(2))
    gradient, steps = SideGradient(ours), [training.optimizer(network) for network in (ours, plain)]

    def by_hand() -> None:
        for activations, targets in kept:
            gradient(activations, targets)
            steps[0].step()

    def by_autograd() -> None:
        for activations, targets in kept:
            steps[1].zero_grad()
            (plain(activations.float()) - targets.float()).square().sum(1).mean().backward()
            steps[1].step()

    return {STEP: lambda: seconds(by_hand) / STEPS, PLAIN: lambda: seconds(by_autograd) / STEPS}


# --- the wire and the device -------------------------------------------------------------------------------------


def wire_figures() -> list[Figure]:
    """Encoding and decoding a batch's activations: values are read as float32 and written as fp16, or back."""
    tensor = rows(SHAPE, BATCH, torch.Generator().manual_seed(0))[KINDS[0]]
    ids = tuple(sample_ids(BATCH))
    message = Message(KINDS[0], DEVICE, SERVER, sample_ids=ids, tensors={KINDS[0]: tensor}, precision=PRECISION)
    data = encode(message)
    bound = Bound(moved=tensor.nbytes + tensor.numel() * HALF)
    works: dict[str, Work] = {
        "wire: encoding a batch's activations": lambda: encode(message),
        "wire: decoding them": lambda: decode(data),
    }
    return [Figure(name, best(work, TURNS), bound) for name, work in works.items()]


@torch.no_grad()
def device_figure(bench: Bench) -> Figure:
    """The device's pass, which ends with activations of the pivots; its products are counted by torch."""
    backbone = load_backbone(bench.backbone)
    texts = [sample.text for sample in texts_of(bench, TEXTS, TEXTS).victim_train]

    def work() -> torch.Tensor:
        return pivot_activations(backbone, texts, LONGEST, "", "last")

    with counter() as counted:
        work()
    return Figure("device: forward pass to the pivots", best(work, TURNS), Bound(counted.get_total_flops()))
