"""What a device computes and sends until a model is as accurate: one pass of forward passes, or federated tuning.

Claim: arXiv 2508.06765, abstract: at least 95.2 % less computation and 93.2 % less communication on the device, against
federated tuning of the full model. The target is the accuracy that `fedmobillm` ends with; each other protocol gets the
smallest number of passes over its rows with which it is as accurate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..system.backbone import load_backbone
from ..system.data import Split
from ..system.protocols import Protocol
from ..system.protocols.fedlora import FedLora
from ..system.protocols.fedmobillm import FedMobiLLM
from ..system.protocols.fleet import Fleet
from ..system.protocols.lora_training import LoraTraining
from ..system.protocols.splitlora import SplitLoRA
from ..system.roles import DEVICE
from .apart import Case, Costs, costs
from .finding import Bench, Cell, Finding, Headline
from .material import joined, rows
from .paired import trained

TOKENS = 128
GENERATED = 7_500
DEVICES = 5
PASSES = (1, 2, 3, 4, 6, 8, 12)
"""Tried in turn until one is as accurate."""
FLEET = Fleet(DEVICES)
COMPUTATION, TRAFFIC = 95.2, 93.2
"""Per cent, arXiv 2508.06765, abstract."""


def measure(bench: Bench) -> Finding:
    """Costs to the same accuracy at 128 tokens."""
    parts = long_texts(bench)
    one_pass = FedMobiLLM(fleet=FLEET, longest=TOKENS)
    bench.say("fedmobillm")
    found = {"fedmobillm": (1, costs(Case(one_pass, bench.backbone, parts, bench.seed), (DEVICE,)))}
    target = found["fedmobillm"][1].accuracy
    notes = []
    for name, make in others().items():
        passes, reached = fewest(bench, parts, name, make, target)
        found[name] = passes, costs(Case(make(passes), bench.backbone, parts, bench.seed), (DEVICE,))
        if not reached:
            notes.append(f"{name} did not become as accurate within {passes} passes; its costs are those of {passes}.")
    return Finding(
        name="computation",
        title="A device's computation and traffic to the same accuracy",
        kind="measured",
        about=(
            f"{bench.backbone} on {bench.data}: rows of one class joined to texts of {TOKENS} tokens and "
            f"more, cut there; {len(parts.victim_train)} training and {len(parts.victim_test)} test texts, {DEVICES} "
            f"devices with equal shares, one draw. Target: the accuracy of fedmobillm, {target:.3f}."
        ),
        headlines=[*bars(found, "fedlora", (COMPUTATION, TRAFFIC)), *ratios(found, "splitlora")],
        rows=[_row(name, passes, one, len(parts.victim_train)) for name, (passes, one) in found.items()],
        notes=[
            *notes,
            "The paper: RoBERTa-base on MRPC, 100 devices, against FedPETuning and others; here a smaller backbone.",
        ],
    )


def long_texts(bench: Bench) -> Split:
    """Rows joined to texts of 128 tokens."""
    short = rows(bench, train=4_500, test=2_500, generated=GENERATED)
    return joined(short, load_backbone(bench.backbone), TOKENS)


def others() -> dict[str, Callable[[int], Protocol]]:
    """What is compared, by the number of passes."""
    return {
        "fedlora": lambda passes: FedLora(fleet=FLEET, longest=TOKENS, lora=LoraTraining(epochs=passes)),
        "splitlora": lambda passes: SplitLoRA(fleet=FLEET, longest=TOKENS, lora=LoraTraining(epochs=passes), every=10),
    }


def fewest(bench: Bench, parts: Split, name: str, make: Callable[[int], Protocol], target: float) -> tuple[int, bool]:
    """The smallest number of passes that is as accurate, else the largest tried; and whether it is."""
    for passes in PASSES:
        found = trained(Case(make(passes), bench.backbone, parts, bench.seed))
        bench.say(f"{name} with {passes} passes: accuracy {found:.3f}, target {target:.3f}")
        if found >= target:
            return passes, True
    return PASSES[-1], False


def saved(found: dict[str, tuple[int, Costs]], other: str) -> tuple[float, float]:
    """Per cent of another protocol's computation on the device, and of its traffic, that fedmobillm does without."""
    ours, theirs = found["fedmobillm"][1], found[other][1]
    computation = ours.parties[DEVICE].operations / theirs.parties[DEVICE].operations
    traffic = (ours.uplink + ours.downlink) / (theirs.uplink + theirs.downlink)
    return 100 * (1 - computation), 100 * (1 - traffic)


def bars(found: dict[str, tuple[int, Costs]], other: str, claimed: Sequence[float]) -> list[Headline]:
    """Against the paper's own kind of baseline."""
    parts = zip(("computation on the device", "traffic of the device"), saved(found, other), claimed, strict=True)
    return [
        Headline(f"{what} saved against {other}, in % (arXiv 2508.06765)", figure, bar) for what, figure, bar in parts
    ]


def ratios(found: dict[str, tuple[int, Costs]], other: str) -> list[Headline]:
    """Beside another baseline, without a bar of its own."""
    computation, traffic = saved(found, other)
    return [
        Headline(f"computation on the device saved against {other}, in %", computation, None),
        Headline(f"traffic of the device saved against {other}, in %", traffic, None),
    ]


def _row(name: str, passes: int, found: Costs, samples: int) -> dict[str, Cell]:
    device = found.parties[DEVICE]
    return {
        "protocol": name,
        "passes on the device": passes,
        "accuracy": found.accuracy,
        "device GFLOP a row": device.operations / (samples / DEVICES) / 1e9,
        "bytes up a row": found.uplink,
        "bytes down a row": found.downlink,
        "device peak MiB": device.peak_bytes / 2**20,
        "device CPU s": device.seconds,
    }
