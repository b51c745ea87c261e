"""Labels from activations, by a classifier that the attacker trains on auxiliary texts of its own.

It reads all layers that cross, and is trained on the auxiliary texts, on variants of them without a quarter of their
words, and on the class names in plain sentences. Nothing but activations is needed: whatever stands beside them, a
defended difference for instance, cannot lower what this attack finds.
Where the device trains its bottom blocks, only the first pass over the data is near the public backbone, and is read.
Threat model: a server that knows the backbone and the prompt, with labelled texts of the victim's kind.
Source: linear probes, Alain and Bengio (arXiv 1610.01644); attribute inference from embeddings, Song and Raghunathan
(arXiv 2004.00053). Variants and names: ours.

Shapes: M rows to learn from, F features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared, Studied
from ..evidence.probing import Linear, fitted
from ..evidence.states import auxiliary_states, crossed_states, features, name_rows, states_of
from ..workbench import Workbench


@dataclass(frozen=True)
class Probe(Attack):
    """Auxiliary texts teach what activations say of labels."""

    name = "probe"
    source = "arXiv 1610.01644 and 2004.00053"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone", "auxiliary"}))
    attacked = frozenset({"activations"})
    studies: ClassVar[Studied | None] = Studied(
        frozenset({"backbone", "auxiliary"}),
        frozenset({"layers", "longest", "positions", "precision", "prompt", "selector"}),
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
        """`weight` (F, K) and `bias` (K,) of the class scores."""
        states, labels = auxiliary_states(public)
        rows, owners, groups = [features(states)], [labels], [torch.arange(len(labels))]
        for copy in range(self.variants):
            bench.progress(copy + 1, self.variants + 2)
            texts = [shortened(example.text, self.dropped, generator) for example in public.auxiliary]
            rows.append(features(states_of(texts, public)))
            owners.append(labels)
            groups.append(groups[0])
        if self.names:
            named = name_rows(public).flatten(0, 1)
            rows.append(features(named))
            owners.append(torch.arange(len(public.labels)).repeat(len(named) // len(public.labels)))
            groups.append(len(labels) + torch.arange(len(named)))
        found = fitted(torch.cat(rows), torch.cat(owners), len(public.labels), groups=torch.cat(groups))
        return {"weight": found.weight, "bias": found.bias}

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """The likeliest class of each sample."""
        ids, states = crossed_states(view, public)
        scores = Linear(prepared["weight"], prepared["bias"]).probabilities(features(states))
        return LabelGuess(ids, scores.argmax(1))


def shortened(text: str, dropped: float, generator: torch.Generator) -> str:
    """A text without a share of its words, drawn by chance; the whole text where none would be left."""
    words = text.split()
    kept = (torch.rand(len(words), generator=generator) >= dropped).tolist()
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep) or text
