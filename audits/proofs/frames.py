"""Proof that no bytes of a peer do more to `decode` than to be refused.

    python -m sidelight.audits.proofs.frames [--frames 1000000] [--seconds N] [--seed N] [--guided N]

Real frames of every protocol are changed at random and decoded. Each must become a message, whose own bytes become the
same message (quantised tensors: to half a step), or a ProtocolError in one printable sentence. The process's peak
memory may rise by what `decoding_bytes` allows for the longest frame, and by ALLOCATOR. Where atheris is installed (the
extra `fuzz`), a tenth as many frames follow in another process, chosen by the lines of the decoder that they reach.

Leaves with 1 where anything else happens; a frame's number and the seed make it again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy
import torch
from rich.console import Console
from rich.progress import Progress

from ...system.codec import LARGEST, Precision, through
from ...system.errors import ProtocolError, SidelightError
from ...system.message import Message, decode, decoding_bytes, encode
from .memory import peak_memory
from .mutations import mutated
from .recorded import recorded

GUIDED = "sidelight.audits.proofs.guided"
MOST_VALUES = 1 << 16
"""As a server sets it for messages of a few thousand values."""
MIB = 1 << 20
ALLOCATOR = 32 * MIB
"""What memory that was freed and not given back may add to the peak, over a whole run."""
BATCH = 1000
"""Frames between two looks at memory and clock."""
SENTENCE = 300
"""Letters of the longest refusal."""


class Unsound(SidelightError):
    """A frame that was neither refused nor decoded as it should be."""


@dataclass
class Tally:
    """What became of frames."""

    frames: int = 0
    decoded: int = 0
    longest: int = 0
    """Bytes of the longest frame."""
    failures: list[str] = field(default_factory=list)

    def meet(self, frame: bytes) -> None:
        """Decode one more frame."""
        self.longest = max(self.longest, len(frame))
        try:
            self.decoded += survived(frame)
        except Exception as error:
            self.failures.append(f"frame {self.frames}, {len(frame)} bytes: {type(error).__name__}: {error}")
        self.frames += 1

    @property
    def refused(self) -> int:
        return self.frames - self.decoded - len(self.failures)


def survived(frame: bytes, most_values: int = MOST_VALUES) -> bool:
    """Whether a frame is a message; raises Unsound where message or refusal are not as they should be."""
    try:
        message = decode(frame, most_values)
    except ProtocolError as error:
        said = str(error)
        if len(said) > SENTENCE or not said.isprintable() or not said.isascii():
            raise Unsound(f"the refusal is no short printable sentence: {said[:SENTENCE]!a}") from error
        return False
    again = decode(encode(message), most_values)
    if not same(message, again) or encode(decode(encode(again))) != encode(again):
        raise Unsound("the message's own bytes are decoded to another message")
    return True


def same(message: Message, again: Message) -> bool:
    """Whether the second message is what the bytes of the first must be read as."""
    if replace(message, tensors={}) != replace(again, tensors={}) or list(message.tensors) != list(again.tensors):
        return False
    pairs = [(tensor, again.tensors[name]) for name, tensor in message.tensors.items()]
    return all(_same_values(before, after, message.precision) for before, after in pairs)


def _same_values(before: torch.Tensor, after: torch.Tensor, precision: Precision) -> bool:
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        return False
    if not before.is_floating_point() or precision not in LARGEST:
        return bool(((before == after) | (before.isnan() & after.isnan())).all())
    if not torch.equal(after, through(before, precision)):
        return False
    # a peer's blocks and scales are its own, so that they are rounded to ours
    peak = float(before.abs().max()) if before.numel() else 0.0
    return bool(((before - after).abs() <= 0.501 * peak / LARGEST[precision] + 2.0**-24).all())


# --- at random ------------------------------------------------------------------------------------------------


def met(frames: Iterable[bytes], count: int, seconds: float = float("inf")) -> Iterator[Tally]:
    """The tally so far, after every batch and at the end; memory beyond the bound is a failure."""
    tally, until, source = Tally(), time.monotonic() + seconds, iter(frames)
    before = peak_memory()
    while tally.frames < count and not tally.failures and time.monotonic() < until:
        for frame in islice(source, min(BATCH, count - tally.frames)):
            tally.meet(frame)
        risen, allowed = peak_memory() - before, decoding_bytes(tally.longest, MOST_VALUES) + ALLOCATOR
        if risen > allowed:
            tally.failures.append(f"up to frame {tally.frames}: {risen:,} bytes of memory, {allowed:,} are allowed")
        yield tally


def at_random(frames: Sequence[bytes], count: int, seconds: float, seed: int) -> Tally:
    """The tally of so many mutated frames, with a bar on the way."""
    tally = Tally()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("frames", total=count)
        for tally in met(mutated(frames, numpy.random.default_rng(seed)), count, seconds):
            bar.update(task, completed=tally.frames)
    return tally


# --- guided by coverage ---------------------------------------------------------------------------------------


def guided(frames: Sequence[bytes], count: int, seconds: float) -> Tally:
    """As many frames again, in a process of their own in which the decoder tells which of its lines are reached."""
    with tempfile.TemporaryDirectory(prefix="sidelight-frames-") as folder:
        corpus, told = Path(folder) / "corpus", Path(folder) / "tally.json"
        corpus.mkdir()
        for at, frame in enumerate(frames):
            (corpus / f"{at:06d}").write_bytes(frame)
        limit = [] if seconds == float("inf") else ["--seconds", str(int(seconds))]
        line = [sys.executable, "-m", GUIDED, str(corpus), str(told), "--frames", str(count), *limit]
        done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if not told.exists():
            raise SidelightError(f"the guided process ended with {done.returncode}: {done.stderr[-SENTENCE:]!r}")
        tally = Tally(**json.loads(told.read_text(encoding="utf-8")))
    if done.returncode and not tally.failures:
        tally.failures.append(f"the guided process ended with {done.returncode}: {done.stderr[-SENTENCE:]!r}")
    return tally


def shown(name: str, tally: Tally, seconds: float) -> str:
    """A line of the table."""
    rate = tally.frames / max(seconds, 1e-9)
    return (
        f"{name:<10}{tally.frames:>10,} frames, the longest {tally.longest:,} bytes: {tally.decoded:,} decoded, "
        f"{tally.refused:,} refused, {len(tally.failures)} failed; {rate:,.0f} a second, "
        f"{peak_memory() / MIB:.0f} MiB at the peak"
    )


def main() -> int:
    """Print what became of the frames; 1 where one did anything but to be decoded or refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long, each way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", type=int, help="frames guided by coverage; needs atheris")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frames, started = recorded(), time.monotonic()
    tallies = [at_random(frames, arguments.frames, arguments.seconds, arguments.seed)]
    print(shown("at random", tallies[0], time.monotonic() - started), flush=True)
    more = arguments.guided
    if more is None:
        more = arguments.frames // 10 if find_spec("atheris") else 0
    if more:
        started = time.monotonic()
        tallies.append(guided(frames, more, arguments.seconds))
        print(shown("guided", tallies[1], time.monotonic() - started))
    failures = [failure for tally in tallies for failure in tally.failures]
    print("\n".join(failures) or "every frame was decoded or refused")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
