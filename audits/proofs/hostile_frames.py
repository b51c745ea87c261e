"""Proof that a running server takes any bytes: it refuses them, and an honest device beside them trains as ever.

    python -m sidelight.audits.proofs.hostile_frames [--frames 20000] [--callers 4] [--seed N]

`sidelight serve` runs as users start it. Callers of several names, which joined as honest devices do, send it frames
of every protocol, most of them changed at random; of one call in four the pieces are changed as well: sizes that lie,
empty pieces, streams cut off. Meanwhile an honest device joins, sends, trains, downloads and is forgotten, again and
again. Each of its side networks must be, bit for bit, that of a run in one process. The server must log no unforeseen
error; its resident memory may rise, above what it is after a first honest run and one frame of each caller, by the room
for requests, what decoding the longest frame takes in each of its handlers, and ALLOCATOR; its handles and threads must
be no more at the end than at the beginning, but for SOME. Exits with status 1 where anything else happens.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import numpy
import psutil
import torch

from ...system.errors import SidelightError
from ...system.message import decoding_bytes
from ...system.network import network_pb2 as schema
from ...system.network.access import DEVICE as NAMED
from ...system.network.device_wire import Connection, DeviceWire
from ...system.network.service import HANDLERS, NAME, Limits
from ...system.protocols.agreed import Agreed
from .honest_device import Honest
from .mutations import Generator, mutated
from .recorded import recorded
from .soak import served

MIB = 1 << 20
ALLOCATOR = 64 * MIB
"""What memory that was freed and not given back may add, over a whole run."""
SOME = 4
"""Handles and threads that come and go."""
LIMITS = Limits()
PATIENCE = 20.0
"""Seconds that a caller waits for an answer."""
CHANGED = 0.7
"""Share of frames that are changed: the others bring the server to where changed ones can do more."""
JOIN_EVERY = 20
"""Frames after which a caller joins again: it may have been forgotten."""


@dataclass
class Found:
    """What became of the frames, and of the honest device."""

    frames: int = 0
    longest: int = 0
    """Bytes of the longest frame."""
    answers: Counter[str] = field(default_factory=Counter)
    """By gRPC's status, of all calls."""
    runs: int = 0
    """Of the honest device, with the right weights."""
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meet(self, frame: bytes, status: str) -> None:
        with self._lock:
            self.frames += 1
            self.longest = max(self.longest, len(frame))
            self.answers[status] += 1

    @property
    def memory(self) -> int:
        """Bytes by which the server may grow."""
        return LIMITS.room + HANDLERS * decoding_bytes(self.longest, LIMITS.largest // 4) + ALLOCATOR


# --- frames ---------------------------------------------------------------------------------------------------


def chunks(frame: bytes, generator: Generator) -> Iterator[schema.Chunk]:
    """A frame in pieces, of which one call in four says or sends what is not so."""
    lies = generator.random() < 0.25
    size = len(frame)
    if lies:
        size = (0, size + 1, max(size - 1, 0), 1, LIMITS.largest, 2**63, size)[int(generator.integers(7))]
    cut = int(generator.integers(1, len(frame) + 2)) if lies and generator.random() < 0.5 else len(frame)
    piece = int(generator.integers(1, 2000)) if lies else max(len(frame), 1)
    for at in range(0, max(cut, 1), piece):
        yield schema.Chunk(size=size if not at or lies else 0, data=frame[at : min(at + piece, cut)])
        if lies and generator.random() < 0.1:
            yield schema.Chunk()


def call(port: int, name: str) -> tuple[grpc.Channel, Any]:
    """An open connection, and its Exchange."""
    channel = grpc.insecure_channel(f"localhost:{port}")
    return channel, channel.stream_stream(f"/{NAME}/Exchange", schema.Chunk.SerializeToString, schema.Answer.FromString)


def attack(port: int, at: int, frames: Sequence[bytes], count: int, seed: int, agreed: Agreed, found: Found) -> None:
    """One caller's frames; it joins on an honest device's terms, under a name of its own."""
    generator, name = numpy.random.default_rng([seed, at]), f"mallory-{at}"
    channel, exchange = call(port, name)
    wire = DeviceWire(Connection(f"localhost:{port}", name))
    try:
        for number, frame in enumerate(islice(mutated(frames, generator), count)):
            if number % JOIN_EVERY == 0:
                wire.join(agreed)
            sent = frame if generator.random() < CHANGED else frames[int(generator.integers(len(frames)))]
            found.meet(sent, said(exchange, sent, name, generator))
    except Exception as error:
        found.failures.append(f"{name}: {type(error).__name__}: {error}")
    finally:
        wire.close()
        channel.close()


def said(exchange: Any, frame: bytes, name: str, generator: Generator) -> str:
    """The status that a frame is answered with; now and then the caller hangs up before."""
    going = exchange(chunks(frame, generator), metadata=((NAMED, name),), timeout=PATIENCE)
    if generator.random() < 0.02:
        going.cancel()
    try:
        for _ in going:
            pass
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def honest(port: int, device: Honest, over: threading.Event, found: Found) -> None:
    """Trains by one protocol after the other until it is over, and at least once by each."""
    try:
        while found.runs < len(device.protocols) or not over.is_set():
            if not device.trains(port, found.runs % len(device.protocols)):
                raise SidelightError(f"run {found.runs} ended with other weights")
            found.runs += 1
    except Exception as error:
        found.failures.append(f"the honest device: {type(error).__name__}: {error}")


# --- the whole ------------------------------------------------------------------------------------------------


def assault(frames: Sequence[bytes], count: int, callers: int, seed: int) -> tuple[Found, str]:
    """What was found, and a line on what the server held."""
    found, device = Found(), Honest()
    frames = [*frames, *device.frames * (len(frames) // len(device.frames) + 1)]
    with tempfile.TemporaryDirectory(prefix="sidelight-") as root:
        log = Path(root) / "log"
        with served(Path(root) / "store", log) as (process, port):
            beside(port, device, frames, callers, callers, seed + 1, Found())
            before = held(process)
            watch = Watch(process)
            beside(port, device, frames, count, callers, seed, found)
            watch.over.set()
            watch.join()
            time.sleep(0.5)  # connections that were hung up are closed
            after = held(process)
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    found.failures += [f"the server failed: {line}" for line in lines if line["event"] == "failed"][:5]
    if found.frames != count:
        found.failures.append(f"{found.frames} frames of {count} were sent")
    grown = watch.most - before[0]
    if grown > found.memory:
        found.failures.append(f"the server's memory rose by {grown:,} bytes, {found.memory:,} are allowed")
    for what, one, other in (("handles", before[1], after[1]), ("threads", before[2], after[2])):
        if other > one + SOME:
            found.failures.append(f"the server had {one} {what} before and {other} after")
    told = f"memory rose by {grown / MIB:.0f} MiB of {found.memory / MIB:.0f} allowed, from {before[0] / MIB:.0f} MiB"
    return found, f"{told}; handles {before[1]} and {after[1]}, threads {before[2]} and {after[2]}"


def beside(
    port: int, device: Honest, frames: Sequence[bytes], count: int, callers: int, seed: int, found: Found
) -> None:
    """Frames from several callers while the honest device trains."""
    over = threading.Event()
    training = threading.Thread(target=honest, args=(port, device, over, found))
    shares = [count // callers + (at < count % callers) for at in range(callers)]
    calling = [
        threading.Thread(target=attack, args=(port, at, frames, share, seed, device.agreed(at), found))
        for at, share in enumerate(shares)
    ]
    for thread in (training, *calling):
        thread.start()
    for thread in calling:
        thread.join()
    over.set()
    training.join()


class Watch(threading.Thread):
    """The most resident bytes of a process, looked at ten times a second."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.over, self.most, self._process = threading.Event(), 0, process
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.1):
            self.most = max(self.most, self._process.memory_info().rss)


def held(process: psutil.Process) -> tuple[int, int, int]:
    """Resident bytes, handles and threads."""
    return process.memory_info().rss, process.num_fds(), process.num_threads()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    found, told = assault(recorded(), given.frames, given.callers, given.seed)
    statuses = ", ".join(f"{name} {number:,}" for name, number in found.answers.most_common())
    print(
        f"{found.frames:,} frames in {time.monotonic() - began:.0f} s, the longest {found.longest:,} bytes: {statuses}"
    )
    print(f"{found.runs} honest trainings with the right weights; {told}")
    print("\n".join(found.failures) or "nothing else happened")
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main())
