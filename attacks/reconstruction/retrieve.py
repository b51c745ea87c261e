"""Texts by likeness: of all texts at hand, the one whose states come nearest to those that were received.

The pool are the auxiliary texts and the candidates that the threat model names. Each is taken through the public
mechanism up to its noise: backbone (rounded, where the device's is), clip, maps that a control reveals, and, where no
noise comes before it, the rounding of the wire. A pool text is judged by the likelier of two accounts of the states
received (Mahalanobis distances, each with the volume of its covariance):

- it is the text itself: the rest is noise and rounding, whose variances are measured on pool texts;
- it is near the text: the rest also holds what pool texts and their nearest neighbours differ by.

Where noise is as large in every direction as in any other, Euclid's distance to clipped states is Bayes' rule for a
text of the pool, and the first account is that; whitening by the pool's own covariance would lose to it. Weights count
where errors differ by layer, and for texts that are not in the pool. Rounding behind noise is an error like noise:
states of the pool are not rounded then, since noise spreads a state over several values of the grid.

Threat model: a server that knows the backbone, and all that is public of a defence. Memory: the pool's states are
projected part by part on DIRECTIONS directions, so that a text of the pool takes 2 kB.
Source: adaptive retrieval of "The Empty Middle" (arXiv 2605.24042), as summarised elsewhere; the two accounts are ours.

Shapes: N samples, M pool texts, E of them as examples, F features of all layers, k directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.likeness import device_backbone, errors, sent
from ..evidence.states import FACTS, PLAIN, PROJECTED, asked_states, features
from ..workbench import Workbench

DIRECTIONS = 512
"""In which states are compared, and pool texts that they are found on, at most."""
CHUNK = 256
"""Pool texts, or samples, at a time."""
SHRINK = 0.1
"""Share of the mean variance of near texts that every direction has beside its own: new texts differ in all."""


@dataclass(frozen=True)
class Retrieve(Attack):
    """The likeliest text of a pool."""

    name = "retrieve"
    source = "adaptive Mahalanobis retrieval, after arXiv 2605.24042"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"activations": (PLAIN, PROJECTED)}
    studies = Studied(frozenset({"backbone", "auxiliary", "candidates", "keys"}), FACTS | {"weight_bits", "weights"})

    @torch.no_grad()
    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`middle` (F,) and `axes` (F, k), by which states become coordinates in units of their errors; `pool` (M, k)
        and `near` (k,): the coordinates of pool texts, and the variances of what near ones differ by."""
        texts = pool_of(public)
        if not texts:
            return {}
        backbone = device_backbone(public)
        order = torch.randperm(len(texts), generator=generator)[:DIRECTIONS].tolist()
        states = sent([texts[i] for i in order], public, backbone)
        scale = errors(states, public, generator)
        examples = features(states)
        middle = examples.mean(0)
        _, _, directions = torch.linalg.svd((examples - middle) / scale, full_matrices=False)
        axes = directions.T / scale.unsqueeze(1)
        parts = []
        for at in range(0, len(texts), CHUNK):
            parts.append((features(sent(texts[at : at + CHUNK], public, backbone)) - middle) @ axes)
            bench.progress(at + len(parts[-1]), len(texts))
        pool = torch.cat(parts)
        return {"middle": middle, "axes": axes, "pool": pool, "near": _near((examples - middle) @ axes)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text of the pool for every asked sample."""
        ids, states = asked_states(view, public)
        if not ids or not prepared:
            return TextGuess((), ())
        found = (features(states) - prepared["middle"]) @ prepared["axes"]
        best = likeliest(found, prepared["pool"], prepared["near"]).tolist()
        backbone, texts = load_backbone(str(public.backbone)), pool_of(public)
        tokens = {at: tuple(backbone.token_ids(texts[at], public.facts["longest"])) for at in set(best)}
        return TextGuess(ids, tuple(tokens[at] for at in best))


def pool_of(public: Public) -> list[str]:
    """The texts at hand, each once."""
    return list(dict.fromkeys([*(example.text for example in public.auxiliary), *public.candidates]))


def likeliest(found: torch.Tensor, pool: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """(N,) the likeliest pool text under the better account of each, for coordinates (N, k) and pool (M, k)."""
    spread = 1 + near
    volume = spread.log().sum()
    best = []
    for rows in found.split(CHUNK):
        itself = torch.cdist(rows, pool).square()
        beside = torch.cdist(rows * spread.rsqrt(), pool * spread.rsqrt()).square() + volume
        best.append(torch.minimum(itself, beside).argmin(1))
    return torch.cat(best)


def _near(examples: torch.Tensor) -> torch.Tensor:
    """Variances (k,) of half the difference between each of some coordinates (E, k) and its nearest neighbour."""
    apart = torch.cdist(examples, examples)
    apart.fill_diagonal_(torch.inf)
    if len(examples) < 2:
        return torch.zeros(examples.shape[1])
    own = (examples - examples[apart.argmin(1)]).square().mean(0) / 2
    return own + SHRINK * own.mean()
