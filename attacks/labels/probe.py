"""Labels from activations, by a classifier that the attacker trains on auxiliary texts of its own.

It reads all layers that cross, and is trained on the auxiliary texts, on variants of them without a quarter of their
words, and on the class names in plain sentences. Nothing but activations is needed: whatever stands beside them, a
defended difference for instance, cannot lower what this attack finds.
Where the device trains its bottom blocks, only the first pass over the data is near the public backbone, and is read.
Behind a secret rotation of each layer, states are turned back by those of the auxiliary texts first: see
evidence/labels/unrotating.py. On 600 rows and 600 texts of other templates that comes far from undoing it.
Threat model: a server that knows the backbone and the prompt, with labelled texts of the victim's kind.
Source: linear probes, Alain and Bengio (arXiv 1610.01644); attribute inference from embeddings, Song and Raghunathan
(arXiv 2004.00053). Variants and names: ours.

Shapes: F features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared, Studied
from ..evidence.labels.augmented import augmented
from ..evidence.labels.probing import Linear, fitted
from ..evidence.labels.unrotating import unrotated
from ..evidence.states import (
    FACTS,
    PLAIN,
    PROJECTED,
    ROTATED,
    auxiliary_states,
    crossed_states,
    features,
    states_of,
)
from ..workbench import Workbench


@dataclass(frozen=True)
class Probe(Attack):
    """Auxiliary texts teach what activations say of labels."""

    name = "probe"
    source = "arXiv 1610.01644 and 2004.00053"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone", "auxiliary"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"activations": (PLAIN, PROJECTED, ROTATED)}
    studies: ClassVar[Studied | None] = Studied(
        frozenset({"backbone", "auxiliary", "keys"}),
        FACTS,
        frozenset({"variants", "dropped", "names"}),
    )

    variants: int = 2
    """Copies of each auxiliary text that lack some words."""
    dropped: float = 0.25
    """Share of words that a copy lacks."""
    names: bool = True
    """Whether the class names are learned from as well."""

    def __post_init__(self) -> None:
        if self.variants < 0:
            raise UsageError(f"variants is {self.variants}; give 0 or more copies of a text")
        if not 0 <= self.dropped < 1:
            raise UsageError(f"dropped is {self.dropped}; give a share of words from 0 to below 1")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`weight` (F, K) and `bias` (K,) of the class scores; `texts` (M, L, d) that turn back what is rotated."""
        learnt = augmented(public.auxiliary, public.labels, generator, self.variants, self.dropped, self.names)
        bench.progress(0, 2)
        rows = features(states_of(learnt.texts, public, generator))
        bench.progress(1, 2)
        found = fitted(rows, learnt.labels, len(public.labels), groups=learnt.groups)
        turns = {"texts": auxiliary_states(public)[0]} if public.facts.get("activations") == ROTATED else {}
        return {"weight": found.weight, "bias": found.bias, **turns}

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The likeliest class of each sample."""
        ids, states = crossed_states(view, public)
        states = unrotated(states, prepared["texts"]) if ids and "texts" in prepared else states
        scores = Linear(prepared["weight"], prepared["bias"]).probabilities(features(states))
        return LabelGuess(ids, scores.argmax(1))
