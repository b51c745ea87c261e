"""How fast exact reconstruction is, against the two plainer ways to do the same, measured in one run.

    python -m sidelight.benchmarks.attack_speed [--backbone NAME] [--texts 2] [--block 1]

All three recover the same tokens from the same states. `naive` runs the whole prefix again for every candidate of the
vocabulary; `shared prefix` runs it once; `ordered`, which is attacks/reconstruction/match.py, also tries likely
candidates first.
Seconds depend on the machine, the ratios much less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..attacks.attack import Prepared
from ..attacks.reconstruction.match import Match, Recovered, Search
from ..attacks.workbench import Workbench
from ..system.backbone import Backbone, load_backbone
from ..system.public import Example, Public

TEXTS = (
    "Please send the invoice for the two lamps to my office",
    "I moved house last week and my letters still go to the old address",
    "Can somebody call me back about the broken washing machine",
    "The parcel that you promised for Monday has not arrived",
)
"""Texts to recover."""

AUXILIARY = (
    "My neighbour took the wrong box, could you ask for it back",
    "There is a charge on the bill that nobody here can explain",
    "The door code stopped working after you changed the lock",
)
"""Texts that the ordering is fitted on: none of those to recover."""


class Naive(Search):
    """Runs the whole prefix for every candidate."""

    def _distances(self, prefixes: list[list[int]], received: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        count = candidates.shape[1]
        rows = [[*prefix, token] for prefix, row in zip(prefixes, candidates.tolist(), strict=True) for token in row]
        states = self._backbone.activations(self._backbone.pad(rows), self._block)[:, -1, -1]
        apart = (states.view(len(prefixes), count, -1) - received.unsqueeze(1)).norm(dim=2)
        relative: torch.Tensor = apart / received.norm(dim=1, keepdim=True)
        return relative


@dataclass(frozen=True)
class Timed:
    """One way's result."""

    name: str
    seconds: float
    recovered: list[Recovered]


@torch.no_grad()
def compare(backbone: Backbone, texts: Sequence[str], block: int) -> list[Timed]:
    """Each way on the same states, the fastest first."""
    prepared = prepare(backbone, block)
    states = [backbone.activations(backbone.tokens([text], 64), block)[0, :, -1] for text in texts]
    whole = backbone.vocabulary
    ways = {
        "ordered": Search(backbone, block, prepared, 64, whole),
        "shared prefix": Search(backbone, block, prepared, whole, whole),
        "naive": Naive(backbone, block, prepared, whole, whole),
    }
    timed = []
    for name, search in ways.items():
        started = time.perf_counter()
        found = search.texts(states, 0)
        timed.append(Timed(name, time.perf_counter() - started, found))
    return timed


def prepare(backbone: Backbone, block: int) -> Prepared:
    """What the attack prepares from auxiliary text."""
    facts = {"precision": "fp32", "layers": [block], "longest": 64, "prompt": ""}
    auxiliary = tuple(Example(text, "") for text in AUXILIARY)
    return Match().prepare(Public(facts, ("",), backbone.name, auxiliary=auxiliary), torch.Generator(), Workbench())


def main() -> None:
    """Print seconds a token and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="sidelight-tiny")
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--block", type=int, default=1)
    arguments = parser.parse_args()
    timed = compare(load_backbone(arguments.backbone), TEXTS[: arguments.texts], arguments.block)
    tokens = sum(len(row.tokens) for row in timed[0].recovered)
    for way in timed:
        ratio = way.seconds / timed[0].seconds
        print(f"{way.name:<14} {way.seconds / tokens:9.4f} s a token   {ratio:7.1f} times `ordered`")


if __name__ == "__main__":
    main()
