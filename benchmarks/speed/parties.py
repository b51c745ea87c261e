"""What an epoch costs each party, protocol by protocol, on OPT-125M's shape: device, bytes, server.

    python -m sidelight.benchmarks.speed.parties [--texts 32] [--tokens 128] [--repeats 3]

Whole runs of one epoch in one process and one thread, in turns; random weights, every text with all its tokens, fp16 on
the wire, messages of sixteen texts. The device's part is all that the run takes outside the wire; the wire's is to make
bytes of messages and messages of bytes; the server's is what it takes to answer. A pass of plain inference stands
beside them. Medians of processor seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.data import Sample
from ...system.message import Message
from ...system.protocols import Protocol, Scene
from ...system.protocols.local import Local
from ...system.protocols.lora_training import LoraTraining
from ...system.protocols.mobillm import MobiLLM
from ...system.protocols.pae import PAE
from ...system.protocols.protocol import interleave
from ...system.protocols.side_training import SideTraining
from ...system.protocols.split import Split
from ...system.randomness import Streams
from ...system.roles import DEVICE
from ...system.wire import Wire
from ..asked import answered, positive
from ..finding import Bench, Cell, Finding, Headline, ended
from ..material import random_opt
from ..memory.device import LABELS, plain, samples, settings
from ..timing import in_turns, seconds

BATCH = 16
SIDE = SideTraining(bottleneck=16, epochs=1, batch=BATCH)
LORA = LoraTraining(epochs=1, batch=BATCH)
PLAIN, ALONE, OURS = "plain inference", "LoRA in one process", "pae"


class Parts(NamedTuple):
    """Processor seconds a text."""

    device: float
    wire: float = 0.0
    server: float = 0.0

    @property
    def whole(self) -> float:
        return sum(self)


class ClockedWire(Wire):
    """A wire that tells its own time and the servers' from the device's."""

    inside = 0.0

    def request(self, message: Message) -> Message:
        began = time.process_time()
        try:
            return super().request(message)
        finally:
            self.inside += time.process_time() - began


def measure(bench: Bench, texts: int = 32, tokens: int = 128, repeats: int = 3) -> Finding:
    """All of them, in turns."""
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        backbone, own = load_backbone(random_opt(Path(folder))), samples(texts, tokens)
        runs: dict[str, Callable[[], Parts]] = {PLAIN: lambda: _plain(backbone, texts, tokens)}
        for name, one in protocols(settings(backbone, texts, tokens).longest).items():
            runs[name] = lambda one=one: parts(one, backbone, own)  # type: ignore[misc]
        found = {name: _median(given) for name, given in in_turns(runs, repeats).items()}
    for name, medians in found.items():
        bench.say(f"{name}: {1e3 * medians.whole:.1f} ms a text")
    return Finding(
        name="parties",
        title="An epoch, party by party",
        kind="measured",
        about=(
            f"12 blocks of width 768, random weights, {texts} texts of {tokens} tokens, one epoch, messages and "
            f"batches of {BATCH}, a bottleneck of {SIDE.bottleneck}, LoRA of rank {LORA.rank}, one thread; processor "
            f"time, medians of {repeats} turns."
        ),
        headlines=headlines(found),
        rows=[_row(name, one, found[ALONE].whole) for name, one in found.items()],
        notes=(
            "A device's part is its whole run: passes, gradients where it trains, what it samples, the download at the "
            "end. Only the first epoch of pae has a device's part.",
        ),
    )


def protocols(longest: int) -> Mapping[str, Protocol]:
    """One epoch of each, on texts of so many tokens without a prompt."""
    return {
        ALONE: Local(method="lora", lora=LORA, selector="last", prompt="", longest=longest),
        "side-tuning in one process": Local(
            method="side", side=SIDE, selector="last", prompt="", longest=longest
        ),
        OURS: PAE(precision="fp16", side=SIDE, selector="last", prompt="", longest=longest, batch=BATCH),
        "mobillm": MobiLLM(precision="fp16", side=SIDE, selector="last", prompt="", longest=longest),
        "split": Split(
            precision="fp16", bottom="trainable", lora=LORA, selector="last", prompt="", longest=longest
        ),
    }  # fmt: skip


def _median(given: Sequence[Parts]) -> Parts:
    """Part by part."""
    return Parts(*map(statistics.median, zip(*given, strict=True)))


def parts(protocol: Protocol, backbone: Backbone, own: Sequence[Sample]) -> Parts:
    """One run's."""
    scene = Scene(backbone, LABELS, {DEVICE: tuple(own)}, Streams("benchmark"))
    device, wire = protocol.device(scene, DEVICE), ClockedWire(protocol.servers(scene), lambda message: None)
    began = time.process_time()
    interleave([device], wire)
    whole, served = time.process_time() - began, sum(wire.served.values())
    return Parts(*(seconds / len(own) for seconds in (whole - wire.inside, wire.inside - served, served)))


def _plain(backbone: Backbone, texts: int, tokens: int) -> Parts:
    took = seconds(lambda: [plain(backbone, BATCH, tokens) for _ in range(texts // BATCH)])
    return Parts(took / (texts // BATCH * BATCH))


def headlines(found: Mapping[str, Parts]) -> list[Headline]:
    """What a phone is spared, and what PAE's device adds to a pass."""
    return [
        Headline("a device of pae, over plain inference", found[OURS].device / found[PLAIN].whole, None, at="most"),
        *(
            Headline(f"{name}: the device's part of an epoch, over that of pae",
                     one.device / found[OURS].device, None)
            for name, one in found.items() if name not in (PLAIN, OURS)
        ),
    ]  # fmt: skip


def _row(name: str, one: Parts, alone: float) -> dict[str, Cell]:
    there = name not in (PLAIN, ALONE) and one.wire > 0
    return {
        "protocol": name,
        "device, ms a text": 1e3 * one.device,
        "bytes, ms a text": 1e3 * one.wire if there else None,
        "server, ms a text": 1e3 * one.server if there else None,
        f"device, of {ALONE}": one.device / alone,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=positive, default=32, help="of the run, a multiple of 16")
    parser.add_argument("--tokens", type=positive, default=128, help="of each text")
    parser.add_argument("--repeats", type=positive, default=3, help="turns")
    given = parser.parse_args()
    if given.texts % BATCH or given.texts < BATCH or min(given.tokens, given.repeats) < 1:
        parser.error(f"--texts is {given.texts}; give a multiple of {BATCH}, and at least 1 token and turn")
    torch.set_num_threads(1)
    return ended(measure(Bench(say=print), given.texts, given.tokens, given.repeats))


if __name__ == "__main__":
    sys.exit(answered(main))
