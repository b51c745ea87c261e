"""How fast shadow side networks train: all together, against the server's own training in a loop, in one run.

    python -m sidelight.benchmarks.attacks.shadow_speed [--shadows 256] [--rows 1500] [--bottleneck 16] [--least 5]

Both train on pivots of `messages` under the default backbone with the default settings of `pae`, but for the
bottleneck, and use as many threads as torch takes here. A few networks of the loop stand for as many as are asked for,
since every one takes as long; all shadows are really trained. Exits with status 1 where the ratio is below --least.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial

import torch
from torch.nn.functional import one_hot

from ...attacks.evidence.members.shadows import Recipe, shadows_of
from ...attacks.workbench import Workbench
from ...system.backbone import load_backbone
from ...system.forward import over_texts
from ...system.fusion import pivot_activations
from ...system.protocols.side_training import SideTraining, regress
from ...system.side_network import SideNetwork, SideShape
from ..asked import answered, positive
from ..finding import Bench, Finding, Headline, ended
from ..material import rows
from ..timing import seconds

SHADOWS, ROWS, BOTTLENECK, LEAST = 256, 1500, 16, 5.0
LOOPED = 3
"""Networks of the loop that are timed."""
LONGEST, PROMPT = 48, " topic:"

Pair = tuple[torch.Tensor, torch.Tensor]


@torch.no_grad()
def material(bench: Bench, count: int) -> Pair:
    """Taps (N, L, d) and one-hot targets (N, K) of so many rows."""
    backbone = load_backbone(bench.backbone)
    parts = rows(bench, count, 100)
    texts = [sample.text for sample in parts.victim_train]
    taps = over_texts(lambda some: pivot_activations(backbone, some, LONGEST, PROMPT, "mean"), texts)
    labels = torch.tensor([parts.labels.index(sample.label) for sample in parts.victim_train])
    return taps, one_hot(labels, len(parts.labels)).float()


def looped(taps: torch.Tensor, targets: torch.Tensor, training: SideTraining, seed: int) -> None:
    """One network, as the server trains it."""
    generator = torch.Generator().manual_seed(seed)
    shape = SideShape(taps.shape[1], taps.shape[2], training.bottleneck, targets.shape[1])
    network = SideNetwork(shape, generator)
    optimizer = training.optimizer(network)
    for epoch in range(training.epochs):
        regress(network, optimizer, training, epoch, taps, targets, generator)


def measure(
    bench: Bench, shadows: int = SHADOWS, count: int = ROWS, bottleneck: int = BOTTLENECK, least: float = LEAST
) -> Finding:
    """All shadows together, beside a few networks of the loop."""
    taps, targets = material(bench, count)
    training = SideTraining(bottleneck=bottleneck)
    # a shadow trains on a half of its rows: it is given all of them twice, so that both train on as many
    twice = taps.repeat(2, 1, 1), targets.repeat(2, 1)
    generator, workbench = torch.Generator().manual_seed(0), Workbench()
    once = Recipe(**{**vars(training), "epochs": 1})
    shadows_of(twice, lambda _: twice, once, 1, generator, workbench)  # whatever torch does once
    looped(taps, targets, SideTraining(bottleneck=bottleneck, epochs=1), 0)
    bench.say(f"{LOOPED} networks in a loop, then {shadows} shadows")
    clock = time.perf_counter
    loop = sum(seconds(partial(looped, taps, targets, training, at), clock) for at in range(LOOPED)) / LOOPED
    recipe = Recipe(**vars(training))
    each = seconds(lambda: shadows_of(twice, lambda _: twice, recipe, shadows, generator, workbench), clock) / shadows
    return Finding(
        name="shadow-speed",
        title="Shadow side networks",
        kind="measured",
        about=(
            f"Each on {len(taps):,} rows of {bench.texts} under {bench.model}, {training.epochs} epochs, bottleneck "
            f"{bottleneck}, {torch.get_num_threads()} threads."
        ),
        headlines=[Headline("shadows trained together, over as many in the server's own loop", loop / each, least)],
        rows=[
            {"trained": name, "networks": networks, "seconds each": each_of, "rows a second": passes / each_of}
            for passes in (training.epochs * len(taps),)
            for name, networks, each_of in (("in a loop", LOOPED, loop), ("together", shadows, each))
        ],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shadows", type=positive, default=SHADOWS)
    parser.add_argument("--rows", type=positive, default=ROWS, help="that a network trains on")
    parser.add_argument("--bottleneck", type=positive, default=BOTTLENECK)
    parser.add_argument("--least", type=float, default=LEAST, help="the ratio that is asked for")
    given = parser.parse_args()
    return ended(measure(Bench(say=print), given.shadows, given.rows, given.bottleneck, given.least))


if __name__ == "__main__":
    sys.exit(answered(main))
