"""PAE MobiLLM's traffic beside MobiLLM's and split learning's, for 10,000 texts of 128 tokens and three epochs.

    python -m sidelight.benchmarks.communications.bar [--samples 32]

Everything counts, the download of the tuned part among it: fp16, rank 16, 20 classes, 12 blocks of width 768. The ratio
follows from the formulas; each is checked here by a run of fewer samples on a model of that very shape with random
weights, whose bytes do not depend on what the weights are. Exits with status 1 where a ratio is above its bar, or where
a formula is more than 1 % from what such a run sent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from ...system.backbone import load_backbone
from ..asked import answered, positive
from ..finding import Headline
from ..material import random_opt
from . import runs
from .checking import MOST, on_wire
from .formulas import derived
from .setting import Setting
from .shapes import SHAPES
from .traffic import total

SETTING = Setting(SHAPES["OPT-125M"])
BARS = {"mobillm": 0.5, "split": 2.0}
"""Most per cent of another protocol's traffic that `pae` may send."""


def headlines() -> list[Headline]:
    """Each ratio beside its bar."""
    own = total(derived("pae", SETTING)).bytes
    gradients = {"mobillm": "", "split": ", whose device trains and gets gradients"}
    found = [
        Headline(
            f"traffic of pae, in % of that of {other}{gradients[other]}",
            100 * own / total(derived(other, SETTING)).bytes,
            bar,
            at="most",
        )
        for other, bar in BARS.items()
    ]
    frozen = total(derived("split", replace(SETTING, trainable=False))).bytes
    least = "without gradients nothing below the cut is trained"
    return [
        *found,
        Headline("traffic of pae, in % of that of split with a frozen device", 100 * own / frozen, None, least),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=positive, default=32, help="of the runs that formulas are checked by")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
        backbone = load_backbone(random_opt(Path(folder)))
        setting = replace(SETTING, samples=given.samples)
        checks = [on_wire(name, setting, runs.run(name, setting, backbone)) for name in ("pae", *BARS)]
    for one in checks:
        print(f"{one.protocol}, {given.samples} samples: formula {one.derived:,}, run {one.wire:,} bytes")
    found = headlines()
    for name in ("pae", *BARS):
        cost = total(derived(name, SETTING))
        print(f"{name}, {SETTING.samples:,} samples: {cost.bytes:,} bytes, of them tensors {cost.tensors:,}")
    print("\n".join(map(str, found)))
    exact = all(one.off <= MOST for one in checks)
    return 0 if exact and all(one.reached is not False for one in found) else 1


if __name__ == "__main__":
    sys.exit(answered(main))
