"""What recording costs: the same run with and without a transcript on disk, in turns.

    python -m sidelight.benchmarks.speed.recorder [--rows 600] [--repeats 5] [--most 1.05]

A whole run of a protocol, in one process and one thread; recorded, every message
that the server sees goes into view/ as an audit files it. By the wall clock, so that an idle machine is wanted; of the
pairs' ratios the median counts. Exits with status 1 where any is above --most.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.data import Sample
from ...system.protocols import Protocol, Scene
from ...system.protocols.lora_training import LoraTraining
from ...system.protocols.mobillm import MobiLLM
from ...system.protocols.pae import PAE
from ...system.protocols.protocol import interleave
from ...system.protocols.side_training import SideTraining
from ...system.protocols.split import Split
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.view import ViewWriter
from ...system.wire import Wire
from ..asked import answered, positive
from ..finding import Bench, Finding, Headline, ended
from ..material import rows
from ..timing import in_turns

MOST = 1.05
EPOCHS = 2
RUNS: Mapping[str, Protocol] = {
    "pae": PAE(side=SideTraining(epochs=EPOCHS)),
    "mobillm": MobiLLM(side=replace(MobiLLM.side, epochs=EPOCHS)),
    "split": Split(bottom="trainable", lora=LoraTraining(epochs=EPOCHS)),
}
"""With their own settings but for the epochs."""


def measure(bench: Bench, train: int = 600, repeats: int = 5, most: float = MOST) -> Finding:
    """Every run, recorded and not."""
    parts, backbone = rows(bench, train, 100), load_backbone(bench.backbone)
    ratios = {name: _ratios(one, backbone, parts.victim_train, parts.labels, repeats) for name, one in RUNS.items()}
    for name, found in ratios.items():
        bench.say(f"{name}: {', '.join(f'{ratio:.3f}' for ratio in found)}")
    return Finding(
        name="recorder",
        title="What recording costs",
        kind="measured",
        about=(
            f"{bench.model} on {bench.texts}, {len(parts.victim_train)} rows, {EPOCHS} epochs: a run that is "
            "recorded beside one that is not, by the wall clock."
        ),
        headlines=[
            Headline(f"{name}: seconds with the recorder, over those without", statistics.median(found), most,
                     f"{min(found):.3f} to {max(found):.3f} in {repeats} turns", at="most")
            for name, found in ratios.items()
        ],
        rows=(),
    )  # fmt: skip


def _ratios(
    protocol: Protocol, backbone: Backbone, samples: tuple[Sample, ...], labels: tuple[str, ...], repeats: int
) -> list[float]:
    both = {
        name: partial(_seconds, protocol, backbone, samples, labels, name == "recorded") for name in ("not", "recorded")
    }
    took = in_turns(both, repeats)
    return [over / under for over, under in zip(took["recorded"], took["not"], strict=True)]


def _seconds(
    protocol: Protocol, backbone: Backbone, samples: tuple[Sample, ...], labels: tuple[str, ...], recorded: bool
) -> float:
    scene = Scene(backbone, labels, {DEVICE: samples}, Streams("benchmark"))
    device, servers = protocol.device(scene, DEVICE), protocol.servers(scene)
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        began = time.perf_counter()
        writer = ViewWriter(Path(folder) / "view", frozenset({SERVER})) if recorded else None
        interleave([device], Wire(servers, (lambda message: None) if writer is None else writer))
        if writer is not None:
            writer.close(servers[SERVER].held(), {})
        return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=positive, default=600)
    parser.add_argument("--repeats", type=positive, default=5, help="turns")
    parser.add_argument("--most", type=float, default=MOST, help="the ratio that is let pass")
    given = parser.parse_args()
    torch.set_num_threads(1)
    return ended(measure(Bench(say=print), given.rows, given.repeats, given.most))


if __name__ == "__main__":
    sys.exit(answered(main))
