"""Peak memory of the main server: one model with every device's adapters, against a part of its own for each device.

Claim: arXiv 2506.02940, abstract: 79 % less memory, against baselines that are not named there. Here the baseline is
SplitFed's first version with replicated frozen weights and ten devices. The devices of `mesfl` have different cuts;
SplitFed knows one cut, the one that its weakest device can hold.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from ...system.protocols.fleet import Fleet
from ...system.protocols.lora_training import LoraTraining
from ...system.protocols.mesfl import MeSFL
from ...system.protocols.split import Split
from ...system.protocols.splitfed import SplitFed
from ...system.roles import SERVER
from ..apart import Case, costs, forked
from ..finding import Bench, Finding, Headline
from ..material import random_opt, rows
from ..paired import Accuracy, accuracy_gap

DEVICES = 10
CUTS = (1, 2, 3, 4)
"""Blocks on a device, dealt in turn."""
SHORT = LoraTraining(epochs=1, batch=8)
BASELINE = "splitfed v1, replicated"
OURS = "mesfl"
TRAIN, TEST, DRAWS = 600, 3000, 8


def measure(bench: Bench) -> Finding:
    """Memory on a model of OPT-125M's sizes; quality on the benchmark's own backbone and data."""
    fleet = Fleet(DEVICES)
    few = rows(bench, train=DEVICES * SHORT.batch, test=60, generated=3000)
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        model = Path(folder)
        forked(lambda: {"model": random_opt(model)})  # so that no process that is measured has ever held it
        for name, protocol in contenders(SHORT, fleet).items():
            bench.say(f"memory of {name}")
            found = costs(Case(protocol, str(model), few, bench.seed), parties=(SERVER,))
            peaks[name] = found.parties[SERVER].peak_bytes
    saved = 100 * (1 - peaks[OURS] / peaks[BASELINE])
    gap = quality(bench, fleet)
    return Finding(
        name="memory",
        title="Peak memory of the main server",
        kind="measured",
        about=(
            f"{DEVICES} devices, a model of OPT-125M's sizes with random weights, LoRA of rank {SHORT.rank}, batches "
            f"of {SHORT.batch}, one step of each device; mesfl with cuts {CUTS} in turn, the others with the smallest. "
            f"Quality: {bench.model} on {bench.texts}, {TRAIN} training and {TEST:,} test rows, {DRAWS} draws."
        ),
        headlines=(
            Headline(
                "server memory saved against SplitFed with replicated weights, in % (arXiv 2506.02940: 79)", saved, 79
            ),
            Headline(
                "accuracy of mesfl less that of SplitFed, in points, lower end of the interval over draws",
                100 * gap.low,
                -1,
                f"mean {100 * gap.mean:.2f}, 95 % interval {100 * gap.low:.2f} to {100 * gap.high:.2f}",
            ),
        ),
        rows=[
            {"protocol": name, "server peak, MiB": size / 2**20, "of the baseline": size / peaks[BASELINE]}
            for name, size in peaks.items()
        ],
        notes=(
            "Resident memory of a process in which the server alone is built and meets the run's messages, above that "
            "of the interpreter with its libraries.",
            "SplitFed's server is served here one device at a time; a server that runs its parts at once holds as many "
            "activation graphs, too.",
        ),
    )


def contenders(training: LoraTraining, fleet: Fleet) -> dict[str, Split]:
    """What is compared, the baseline first."""
    return {
        BASELINE: SplitFed(lora=training, fleet=fleet, cut=CUTS[0], base="replicated"),
        "splitfed v1, shared": SplitFed(lora=training, fleet=fleet, cut=CUTS[0]),
        OURS: MeSFL(lora=training, fleet=fleet, cuts=CUTS),
    }


def quality(bench: Bench, fleet: Fleet) -> Accuracy:
    """Accuracy of mesfl less that of the baseline, over several draws of data."""
    training = LoraTraining(epochs=6)
    chosen = contenders(training, fleet)
    return accuracy_gap(bench, partial(rows, train=TRAIN, test=TEST), chosen[OURS], chosen[BASELINE], DRAWS)
