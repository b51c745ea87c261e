"""What an epoch costs on OPT-125M's shape: LoRA and full fine-tuning in one process beside PAE MobiLLM's parts.

    python -m sidelight.benchmarks.speed.epochs [--texts 8] [--tokens 128] [--repeats 5]

Random weights of OPT-125M's sizes; every text has all its tokens; one thread, fp32. A step of LoRA (peft, rank 8 on
every linear map, a linear head) and of full fine-tuning is forward, backward and AdamW; the device's part of PAE is one
forward pass, pivots, difference and bytes at fp16; the server's is a step on a batch of 64 rows of fp16, with a
bottleneck of 16 and 20 outputs. All take turns; figures are medians of processor seconds a text. What E epochs cost is
modelled of them: E steps of LoRA; of PAE one pass, and E steps of the server.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from ...system.backbone import load_backbone
from ...system.protocols.pae_device import PAEDevice
from ...system.protocols.protocol import Scene
from ...system.protocols.side_training import SideTraining, regress
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER
from ...system.side_network import SideNetwork, SideShape
from ...system.wire import Wire
from ..asked import answered, positive
from ..finding import Bench, Finding, Headline, ended
from ..material import random_opt
from ..memory.device import LABELS, Acknowledging, samples, settings, tuning
from ..timing import in_turns, seconds

BATCH, OUTPUTS, BOTTLENECK = 64, 20, 16
EPOCHS = (1, 3, 10)
Step = Callable[[], object]


def measure(bench: Bench, texts: int = 8, tokens: int = 128, repeats: int = 5) -> Finding:
    """Every part in turns."""
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        random_opt(Path(folder))
        steps = {
            "LoRA step": (tuning(load_backbone(folder), texts, tokens, 8), texts),
            "full fine-tuning step": (tuning(load_backbone(folder), texts, tokens, 0), texts),
            "PAE device pass": (_device(folder, texts, tokens), texts),
            "PAE server step": (_server(), BATCH),
        }
        works = {name: partial(_each, step, texts) for name, (step, texts) in steps.items()}
        found = {name: statistics.median(given) for name, given in in_turns(works, repeats).items()}
    bench.say(", ".join(f"{name} {1e3 * seconds:.1f} ms a text" for name, seconds in found.items()))
    return Finding(
        name="epochs",
        title="An epoch on OPT-125M's shape",
        kind="measured",
        about=(
            f"12 blocks of width 768, random weights, {texts} texts of {tokens} tokens a step, one thread; the "
            f"server's step has {BATCH} samples, a bottleneck of {BOTTLENECK} and {OUTPUTS} outputs. Processor time, "
            f"medians of {repeats} turns."
        ),
        headlines=[
            Headline(
                f"{name}: seconds of {epochs} epochs, over PAE's, modelled of the parts",
                _ratio(found, step, epochs),
                None,
            )
            for name, step in (("LoRA", "LoRA step"), ("full fine-tuning", "full fine-tuning step"))
            for epochs in EPOCHS
        ],
        rows=[
            {"part": name, "milliseconds a text": 1e3 * seconds, "of LoRA's step": seconds / found["LoRA step"]}
            for name, seconds in found.items()
        ],
        notes=("No accuracy stands behind these figures: weights are random.",),
    )


def _ratio(found: Mapping[str, float], step: str, epochs: int) -> float:
    return epochs * found[step] / (found["PAE device pass"] + epochs * found["PAE server step"])


def _each(step: Step, texts: int) -> float:
    """Processor seconds a text."""
    return seconds(step) / texts


def _device(folder: str, texts: int, tokens: int) -> Step:
    """What a device does for a batch, up to the bytes that cross: a new device each time, which has kept nothing."""
    backbone, own = load_backbone(folder), samples(texts, tokens)
    scene = Scene(backbone, LABELS, {DEVICE: own}, Streams("benchmark"))
    protocol = settings(backbone, texts, tokens)

    def step() -> None:
        role = PAEDevice(DEVICE, protocol, scene, own)
        role.contribute(Wire({SERVER: Acknowledging(backbone)}, lambda message: None), own)

    return step


def _server() -> Step:
    """A step on one batch."""
    generator = torch.Generator().manual_seed(0)
    training = SideTraining(bottleneck=BOTTLENECK)
    side = SideNetwork(SideShape(12, 768, BOTTLENECK, OUTPUTS), generator)
    optimizer = training.optimizer(side)
    activations = torch.randn(BATCH, 12, 768, generator=generator).half()
    targets = torch.randn(BATCH, OUTPUTS, generator=generator)
    return lambda: regress(side, optimizer, training, 0, activations, targets, generator)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=positive, default=8, help="of a step")
    parser.add_argument("--tokens", type=positive, default=128, help="of each text")
    parser.add_argument("--repeats", type=positive, default=5, help="turns")
    given = parser.parse_args()
    torch.set_num_threads(1)
    return ended(measure(Bench(say=print), given.texts, given.tokens, given.repeats))


if __name__ == "__main__":
    sys.exit(answered(main))
