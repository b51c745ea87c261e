"""What a device of PAE MobiLLM holds at most, against plain inference and a step of LoRA on the same batch, in one run.

    python -m sidelight.benchmarks.memory.device [--texts 32] [--tokens 128] [--most 1.05] [--most-of-lora 0.35]
                                               [--weights fp32] [--backbone REFERENCE]

Resident memory. Each side has a process of its own and one thread; a peak is the most that was resident in its pass,
with the weights, above what the interpreter and the libraries take. Plain inference is a pass of the model without its
language-model head, whose output for 128 tokens of 50,272 words would be larger than all else, and without a cache of
keys and values. LoRA is peft's, of rank 8 on every linear map, with a linear head on the last states: one step of AdamW
without gradient checkpointing, with fp32 weights alone. The device runs a pass, takes the pivots, computes the
difference, sends both as bytes at fp16 and downloads a side network (r = 16, 20 classes). Without --backbone the model
has OPT-125M's sizes and random weights. Exits with status 1 where a ratio is above its bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from ...system.backbone import TINY, Backbone, load_backbone
from ...system.data import Sample
from ...system.message import Message
from ...system.protocols.pae import PAE
from ...system.protocols.pae_device import PAEDevice
from ...system.protocols.protocol import Scene
from ...system.randomness import Streams
from ...system.roles import DEVICE, SERVER, Server
from ...system.selector import Selector
from ...system.side_network import SideNetwork, SideShape
from ...system.weights import WEIGHTS, Weights
from ...system.wire import Wire
from ..apart import forked
from ..asked import answered, positive
from ..finding import Bench, Finding, Headline, ended
from ..material import random_opt
from .resident import mark, peak, resident

LABELS = tuple(f"class {number}" for number in range(20))
BOTTLENECK = 16
Side = Callable[[Backbone, int, int], None]
"""What is measured, with a backbone, a number of texts, and tokens of each."""


class Acknowledging(Server):
    """Keeps nothing: what a server holds is not the device's. It sends a side network to whoever downloads."""

    def __init__(self, backbone: Backbone) -> None:
        self._shape = SideShape(len(backbone.blocks), backbone.width, BOTTLENECK, len(LABELS))

    def handle(self, message: Message) -> Message:
        if message.kind != "download":
            return self.answer(message, "ready")
        return self.answer(message, "tuned", **SideNetwork(self._shape, torch.Generator()).state_dict())


def samples(count: int, tokens: int) -> tuple[Sample, ...]:
    """Texts of at least so many tokens: memory does not depend on which."""
    return tuple(Sample(f"{i:016x}", "a word " * tokens, LABELS[i % len(LABELS)], ()) for i in range(count))


def settings(backbone: Backbone, count: int, tokens: int) -> PAE:
    """One message for the batch, of texts with so many tokens in all."""
    around = len(backbone.prefix) + len(backbone.suffix)
    selector: Selector = "last" if backbone.causal else "first"
    return PAE(selector=selector, prompt="", longest=tokens - around, batch=count, precision="fp16")


@torch.no_grad()
def plain(backbone: Backbone, count: int, tokens: int) -> None:
    """A pass of the model up to its last states."""
    longest = settings(backbone, count, tokens).longest
    ids, mask = backbone.tokens([sample.text for sample in samples(count, tokens)], longest)
    assert ids.shape == (count, tokens)
    backbone.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)


def device(backbone: Backbone, count: int, tokens: int) -> None:
    """What a device does for a batch, up to the bytes that cross, and the download of the side network."""
    own = samples(count, tokens)
    scene = Scene(backbone, LABELS, {DEVICE: own}, Streams("benchmark"))
    role = PAEDevice(DEVICE, settings(backbone, count, tokens), scene, own)
    wire = Wire({SERVER: Acknowledging(backbone)}, lambda message: None)
    role.contribute(wire, own)
    role.take(wire.request(Message("download", DEVICE, SERVER)).tensors)


def tuning(backbone: Backbone, count: int, tokens: int, rank: int) -> Callable[[], None]:
    """A step of LoRA on the whole model, or with rank 0 of full fine-tuning, as somebody tunes it without a server."""
    model: Any = backbone.model.base_model.requires_grad_(rank == 0)
    if rank:
        model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    head = torch.nn.Linear(backbone.width, len(LABELS))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW([*trained, *head.parameters()], lr=1e-4)
    own = samples(count, tokens)
    ids, mask = backbone.tokens([sample.text for sample in own], settings(backbone, count, tokens).longest)
    goals = torch.tensor([LABELS.index(sample.label) for sample in own])

    def step() -> None:
        states = model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(states[:, -1]), goals).backward()
        optimizer.step()

    return step


def lora(backbone: Backbone, count: int, tokens: int) -> None:
    """A step of LoRA of rank 8."""
    tuning(backbone, count, tokens, 8)()


PLAIN, DEVICE_SIDE, LORA = "plain inference", "device", "a step of LoRA"
SIDES: Mapping[str, Side] = {PLAIN: plain, DEVICE_SIDE: device}
MOST, MOST_OF_LORA = 1.05, 0.35
MIB = 2**20
RANDOM = "OPT-125M's sizes with random weights"


def measured(side: Side, reference: str, count: int, tokens: int, weights: Weights) -> dict[str, Any]:
    """The peak of one side in this process, and what the weights take of it."""
    side(load_backbone(TINY, weights), 2, 8)  # what libraries load when they are first needed counts as libraries
    before = resident()
    backbone = load_backbone(reference, weights)
    held = resident() - before
    mark()
    side(backbone, count, tokens)
    return {"peak": peak() - before, "weights": held}


def peaks(reference: str, count: int, tokens: int, weights: Weights) -> dict[str, dict[str, Any]]:
    """By side, in bytes."""
    sides = {**SIDES, LORA: lora} if weights == "fp32" else SIDES
    return {name: forked(partial(measured, side, reference, count, tokens, weights)) for name, side in sides.items()}


def measure(
    bench: Bench,
    texts: int = 32,
    tokens: int = 128,
    weights: Weights = "fp32",
    most: float = MOST,
    most_of_lora: float = MOST_OF_LORA,
) -> Finding:
    """The device's peak beside the others'; a model of OPT-125M's sizes with random weights where none is asked for."""
    reference = bench.backbone if bench.backbone != TINY else ""
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        if not reference:  # in a process of its own, so that none that is measured has ever held it
            forked(lambda: {"model": random_opt(Path(folder))})
        found = peaks(reference or folder, texts, tokens, weights)
    for name, one in found.items():
        bench.say(f"{name}: {one['peak'] / MIB:.1f} MiB")
    bars = {PLAIN: most, LORA: most_of_lora}
    return Finding(
        name="device-memory",
        title="What a device holds at most",
        kind="measured",
        about=(
            f"{bench.model if reference else RANDOM}, {weights}; a batch of {texts} texts of {tokens} tokens, one "
            "thread; LoRA of rank 8 on every linear map, AdamW, no gradient checkpointing. Resident memory, weights "
            "included, above the interpreter and its libraries; a process each."
        ),
        headlines=[
            Headline(f"peak of a device of pae, over that of {name}",
                     found[DEVICE_SIDE]["peak"] / found[name]["peak"], bar, at="most")
            for name, bar in bars.items() if name in found
        ],
        rows=[
            {"side": name, "peak, MiB": one["peak"] / MIB, "of which weights, MiB": one["weights"] / MIB}
            for name, one in found.items()
        ],
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=positive, default=32, help="of the batch")
    parser.add_argument("--tokens", type=positive, default=128, help="of each text")
    parser.add_argument("--most", type=float, default=MOST, help="the ratio that is let pass")
    parser.add_argument(
        "--most-of-lora", type=float, default=MOST_OF_LORA, help="of a step of LoRA, the ratio that is let pass"
    )
    parser.add_argument("--weights", choices=WEIGHTS, default="fp32", help="as both sides hold them")
    parser.add_argument("--backbone", default="", help="in place of random weights")
    given = parser.parse_args()
    bench = Bench(given.backbone or TINY, say=print)
    return ended(measure(bench, given.texts, given.tokens, given.weights, given.most, given.most_of_lora))


if __name__ == "__main__":
    sys.exit(answered(main))
