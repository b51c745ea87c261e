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
from collections.abc import Callable

import torch
from torch.nn.functional import one_hot

from ...attacks.evidence.members.shadows import Recipe, shadows_of
from ...attacks.workbench import Workbench
from ...system.backbone import TINY, load_backbone
from ...system.forward import over_texts
from ...system.fusion import pivot_activations
from ...system.protocols.side_training import SideTraining, regress
from ...system.side_network import SideNetwork, SideShape
from ..asked import answered, positive
from ..finding import Bench
from ..material import rows

LOOPED = 3
"""Networks of the loop that are timed."""
LONGEST, PROMPT = 48, " topic:"

Pair = tuple[torch.Tensor, torch.Tensor]


@torch.no_grad()
def material(count: int) -> Pair:
    """Taps (N, L, d) and one-hot targets (N, K) of so many rows."""
    backbone = load_backbone(TINY)
    parts = rows(Bench(), count, 100)
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


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shadows", type=positive, default=256)
    parser.add_argument("--rows", type=positive, default=1500, help="that a network trains on")
    parser.add_argument("--bottleneck", type=positive, default=16)
    parser.add_argument("--least", type=float, default=5.0, help="the ratio that is asked for")
    given = parser.parse_args()
    taps, targets = material(given.rows)
    training = SideTraining(bottleneck=given.bottleneck)
    recipe = Recipe(**vars(training))
    # a shadow trains on a half of its rows: it is given all of them twice, so that both train on as many
    twice = taps.repeat(2, 1, 1), targets.repeat(2, 1)
    generator, bench = torch.Generator().manual_seed(0), Workbench()
    once = Recipe(**{**vars(training), "epochs": 1})
    shadows_of(twice, lambda _: twice, once, 1, generator, bench)  # whatever torch does once
    looped(taps, targets, SideTraining(bottleneck=given.bottleneck, epochs=1), 0)
    loop = sum(seconds(lambda at=at: looped(taps, targets, training, at)) for at in range(LOOPED)) / LOOPED  # type: ignore[misc]
    together = seconds(lambda: shadows_of(twice, lambda _: twice, recipe, given.shadows, generator, bench))
    each = together / given.shadows
    print(
        f"{len(taps)} rows, bottleneck {given.bottleneck}, {torch.get_num_threads()} threads\n"
        f"a loop: {loop:.3f} s a network; {given.shadows} shadows together: {together:.1f} s, {each:.3f} s each; "
        f"ratio {loop / each:.2f}"
    )
    return 0 if loop / each >= given.least else 1


if __name__ == "__main__":
    sys.exit(answered(main))
