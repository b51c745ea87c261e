"""Many devices at one server for a long time: its memory stays flat, and it leaks no handle and no thread.

    python -m sidelight.audits.proofs.soak [--devices 64] [--minutes 10] [--growth 0.05]

The server is a process of its own, `sidelight serve` as users start it. Every device is a connection that joins, sends
random rows, has them trained on, downloads, is forgotten, and begins anew. What the server holds is looked at once a
second; a line through the readings after the first third says how much they rise in that time. Exits with status 1
where memory rises by more than --growth of it, where handles or threads rise by more than a few, which gRPC's own pools
may have more or fewer of, or where any device is refused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import psutil
import torch

from ...system.errors import SidelightError
from ...system.message import Message
from ...system.network.device_wire import Connection, DeviceWire
from ...system.protocols.agreed import Agreed, SideAgreed
from ...system.protocols.side_training import SideTraining
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideShape

SHAPE = SideShape(layers=6, width=192, bottleneck=16, outputs=20)
TRAINING = SideTraining(bottleneck=16, epochs=2, batch=32)
SAMPLES, BATCH = 64, 16
FEW = 4
"""Handles or threads by which a server may have more without having lost track of any."""
STARTS = 60.0
"""Seconds that a server may take to start."""


@dataclass
class Load:
    """What the devices did."""

    rounds: Counter[int] = field(default_factory=Counter)
    """Trainings by device."""
    refused: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def served(store: Path, log: Path) -> Iterator[tuple[psutil.Process, int]]:
    """A server as users start it, with the port that it took."""
    command = [sys.executable, "-m", "sidelight.system.command", "serve", "--listen", "localhost:0"]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--store", str(store)], stderr=file)
        try:
            yield psutil.Process(process.pid), _port(process, log)
        finally:
            process.terminate()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    until = time.monotonic() + STARTS
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"serving"' in line and line.endswith("}"):
                return int(json.loads(line)["address"].rpartition(":")[2])
        time.sleep(0.05)
    raise SidelightError(f"the server did not start: {log.read_text()[-300:]}")


def work(port: int, number: int, load: Load) -> None:
    """One device, again and again."""
    generator = torch.Generator().manual_seed(number)
    wire = DeviceWire(Connection(f"localhost:{port}", f"phone-{number}"))
    try:
        while not load.over.is_set():
            one_round(wire, number, generator)
            load.rounds[number] += 1
    except Exception as error:  # whatever it is, this device is no longer a load
        load.refused.append(str(error))
    finally:
        wire.close()


def one_round(wire: DeviceWire, number: int, generator: torch.Generator) -> None:
    """From joining to being forgotten."""
    wire.join(Agreed("pae", f"{number:x}", SideAgreed(SHAPE, TRAINING)))
    ids = tuple(sorted(f"{int(i):016x}" for i in torch.randperm(1 << 20, generator=generator)[:SAMPLES]))
    wire.request(Message("samples", DEVICE, SERVER, sample_ids=ids))
    for at in range(0, SAMPLES, BATCH):
        some = ids[at : at + BATCH]
        for kind, shape in (("activations", (SHAPE.layers, SHAPE.width)), ("difference", (SHAPE.outputs,))):
            tensors = {kind: torch.randn(len(some), *shape, generator=generator)}
            wire.post(Message(kind, DEVICE, SERVER, sample_ids=some, tensors=tensors, precision="fp16"))
    for epoch in range(TRAINING.epochs):
        wire.request(Message("train", DEVICE, SERVER, round=epoch))
    wire.request(Message("download", DEVICE, SERVER))
    wire.request(Message("forget", DEVICE, SERVER))


def readings(process: psutil.Process, seconds: float) -> list[tuple[float, int, int, int]]:
    """Time, resident bytes, handles and threads of a process, once a second."""
    found, began = [], time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        found.append((now, process.memory_info().rss, process.num_fds(), process.num_threads()))
        time.sleep(min(1.0, seconds / 20))
    return found


def rise(times: Sequence[float], values: Sequence[float]) -> float:
    """By a line through the readings, how much they rise from the first to the last."""
    slope = numpy.polyfit(times, values, 1)[0]
    return float(slope * (times[-1] - times[0]))


def level(risen: Mapping[str, float], most: tuple[int, int, int], share: float) -> bool:
    """Whether nothing rises: memory by no more than a share of the most, counts by no more than a few."""
    return risen["memory"] <= share * most[0] and max(risen["handles"], risen["threads"]) <= FEW


def soak(devices: int, seconds: float) -> tuple[Load, dict[str, float], tuple[int, int, int]]:
    """The load, by what is looked at its rise, and the largest readings."""
    load = Load()
    with tempfile.TemporaryDirectory(prefix="sidelight-") as root:
        folder = Path(root)
        with served(folder / "store", folder / "log") as (process, port):
            threads = [threading.Thread(target=work, args=(port, i, load), daemon=True) for i in range(devices)]
            for thread in threads:
                thread.start()
            seen = readings(process, seconds)
            load.over.set()
            for thread in threads:
                thread.join()
    late = seen[len(seen) // 3 :]
    times, *columns = zip(*late, strict=True)
    names = ("memory", "handles", "threads")
    grown = {name: rise(times, column) for name, column in zip(names, columns, strict=True)}
    most = max(r[1] for r in seen), max(r[2] for r in seen), max(r[3] for r in seen)
    return load, grown, most


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--growth", type=float, default=0.05, help="of memory that is allowed, as a share")
    given = parser.parse_args()
    torch.set_num_threads(1)
    load, grown, most = soak(given.devices, 60 * given.minutes)
    print(
        f"{given.devices} devices for {given.minutes:g} minutes: {load.rounds.total()} trainings, "
        f"{len(load.refused)} refused"
    )
    print(f"most: {most[0] / 2**20:.0f} MiB resident, {most[1]} handles, {most[2]} threads")
    print(
        f"after the first third: memory {grown['memory'] / 2**20:+.1f} MiB, handles {grown['handles']:+.1f}, threads "
        f"{grown['threads']:+.1f}"
    )
    for reason in load.refused[:3]:
        print(f"refused: {reason}")
    sound = len(load.rounds) == given.devices and not load.refused and level(grown, most, given.growth)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
