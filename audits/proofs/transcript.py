"""Proof that a transcript of a million messages is written and read with flat memory.

    python -m sidelight.audits.proofs.transcript [--messages 1000000]

A transcript is written in one process and read in another, at a tenth of the size and at the full size. Reading means:
the kinds, the ids of all samples, and every tensor of the activations. In a third process it is checked as somebody
else's recording is. The proof fails where a process's peak memory at
the full size is more than 64 MiB above its peak at a tenth.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ...system.errors import SidelightError
from ...system.message import Message
from ...system.view import ViewWriter, load_view
from ..transcripts.view import check_view, read_manifest
from .memory import peak_memory

MODULE = "sidelight.audits.proofs.transcript"
SAMPLES = 4096
"""Distinct samples, however long the transcript is."""
PER_MESSAGE = 4
WIDTH = 8
MIB = 1 << 20
BOUND = 64 * MIB
"""Bytes by which a peak may grow between a tenth of the size and the full size."""


class Job(NamedTuple):
    """What one process did."""

    name: str
    messages: int
    seconds: float
    peak: int
    """Largest resident memory, in bytes."""


def synthetic(count: int) -> Iterator[Message]:
    """Activations and differences by turns, of samples that come again and again; the first value is the step."""
    for i in range(count):
        step, kind = i // 2, ("activations", "difference")[i % 2]
        first = step * PER_MESSAGE % SAMPLES
        ids = tuple(f"{sample:016x}" for sample in range(first, first + PER_MESSAGE))
        shape = (PER_MESSAGE, 1, WIDTH) if kind == "activations" else (PER_MESSAGE, WIDTH)
        tensors = {kind: torch.full(shape, float(step))}
        yield Message(kind, "device-0", "server", step * PER_MESSAGE // SAMPLES, step, ids, tensors)


def write(root: Path, count: int) -> None:
    """Write the transcript as a recorder does."""
    writer = ViewWriter(root, frozenset({"server"}))
    for message in synthetic(count):
        writer(message)
    writer.close({}, {"protocol": "synthetic"})


def read(root: Path, count: int) -> None:
    """Read the transcript as an attack does; a SidelightError where it is not what was written."""
    view = load_view(root)
    steps = (count + 1) // 2
    total = sum(float(message.tensors["activations"][0, 0, 0]) for message in view.of("activations"))
    found = (len(view.messages), sorted(view.kinds), len(view.sample_ids()), total)
    expected = (count, ["activations", "difference"], min(SAMPLES, steps * PER_MESSAGE), steps * (steps - 1) / 2)
    if found != expected:
        raise SidelightError(f"the transcript reads as {found}, and {expected} was written")


def checked(root: Path, count: int) -> None:
    """Check the transcript as one that somebody else recorded; SidelightError where any is passed over."""
    found = check_view(root, read_manifest(root), ())
    if found.crossed.flows.total() != count:
        raise SidelightError(f"{found.crossed.flows.total()} messages were checked, and {count} were written")


JOBS = {"write": write, "read": read, "check": checked}


def perform(name: str, root: Path, count: int) -> Job:
    """Do a job in this process."""
    torch.set_num_threads(1)
    started = time.monotonic()
    JOBS[name](root, count)
    return Job(name, count, time.monotonic() - started, peak_memory())


def apart(name: str, root: Path, count: int) -> Job:
    """Do a job in a process of its own, whose peak nothing else has raised."""
    line = [sys.executable, "-m", MODULE, "--job", name, "--folder", str(root), "--messages", str(count)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return Job(*json.loads(done.stdout))


def measured(sizes: Sequence[int]) -> Iterator[Job]:
    """Both jobs at each size."""
    for count in sizes:
        with tempfile.TemporaryDirectory(prefix="sidelight-transcript-") as folder:
            for name in JOBS:
                yield apart(name, Path(folder) / "view", count)


def growth(jobs: Sequence[Job]) -> dict[str, int]:
    """Bytes by which each job's peak at the largest size is above its peak at the smallest."""
    grown = {}
    for name in JOBS:
        peaks = {job.messages: job.peak for job in jobs if job.name == name}
        grown[name] = peaks[max(peaks)] - peaks[min(peaks)]
    return grown


def shown(job: Job) -> str:
    """A line of the table."""
    rate = job.messages / job.seconds
    return f"{job.name:<6}{job.messages:>10,} messages {rate:>9,.0f} a second {job.peak / MIB:>8.0f} MiB at the peak"


def main() -> int:
    """Print the table and the growth; 1 where a peak grows beyond the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="at least 20")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(perform(arguments.job, arguments.folder, arguments.messages)))
        return 0
    jobs = []
    for job in measured([arguments.messages // 10, arguments.messages]):
        jobs.append(job)
        print(shown(job), flush=True)
    grown = growth(jobs)
    for name, size in grown.items():
        print(f"{name}: the peak grows by {size / MIB:.1f} MiB; at most {BOUND // MIB} MiB are allowed")
    return int(max(grown.values()) > BOUND)


if __name__ == "__main__":
    sys.exit(main())
