"""Labels from the sizes of encrypted messages: how much a device sends of a text tells how long the text is.

Where activations of all positions cross, a message's size gives the number of its positions; where those of one
position cross, every message is as large as the next, and only how frequent classes are is left to guess by. The sizes
are set against the lengths of auxiliary texts, class by class, by a kernel estimate. A message of B texts shows the sum
of their lengths alone; devices that put texts of about equal length together give each away nearly as well as if it
came alone, and how much they do so the sizes' variance tells.
Threat model: whoever sees the encrypted connection, with the protocol's public settings and labelled texts of the
victim's kind. See system/packets.py for what is modelled of the connection.
Source: own combination; traffic analysis by sizes behind encryption: Dyer et al. (IEEE S&P 2012); lengths of a language
model's tokens from packets: Weiss et al. (USENIX Security 2024).

Shapes: P packets of B samples each, N samples in all, M texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.errors import UsageError
from ...system.packets import PACKET
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared, Studied
from ..evidence.labels.naming import class_priors
from ..evidence.labels.sizes import class_weights, positions_of
from ..workbench import Workbench


@dataclass(frozen=True)
class Size(Attack):
    """The likeliest class of a text of so many tokens."""

    name = "size"
    source = "own combination; cf. Dyer et al., IEEE S&P 2012"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({PACKET}), public=frozenset({"backbone", "auxiliary"}))
    attacked = frozenset({PACKET})
    studies: ClassVar[Studied | None] = Studied(frozenset({"backbone", "auxiliary"}), frozenset({"longest", "prompt"}))

    width: float = 1.0
    """Tokens over which lengths of auxiliary texts are smoothed."""

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise UsageError(f"width of size is {self.width}; give more than 0 tokens")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """Of auxiliary texts `lengths` (M,) in positions and `labels` (M,)."""
        assert public.backbone is not None
        texts = [example.text for example in public.auxiliary]
        mask = load_backbone(public.backbone).tokens(texts, public.facts["longest"], public.facts["prompt"]).mask
        labels = torch.tensor([public.labels.index(example.label) for example in public.auxiliary])
        return {"lengths": mask.sum(1), "labels": labels}

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A class (N,) for each sample, the same for all in one packet."""
        alike: dict[int, dict[tuple[str, ...], torch.Tensor]] = {}
        for message in view.of(PACKET):
            if message.sample_ids:
                alike.setdefault(len(message.sample_ids), {})[message.sample_ids] = message.tensors["bytes"]
        ids = [number for packets in alike.values() for numbers in packets for number in numbers]
        found = [self._classes(torch.cat([*p.values()]), b, public, prepared) for b, p in alike.items()]
        return LabelGuess(tuple(ids), torch.cat(found) if found else torch.empty(0, dtype=torch.int64))

    def _classes(self, sizes: torch.Tensor, samples: int, public: Public, prepared: Prepared) -> torch.Tensor:
        """Of packets of so many samples each, by their sizes (P,): (P B,)."""
        weights, classes = class_priors(public).double().expand(len(sizes), -1), len(public.labels)
        positions = positions_of(sizes, samples, public)
        if positions is not None:
            lengths, labels = prepared["lengths"], prepared["labels"]
            weights = weights * class_weights(positions, samples, lengths, labels, classes, self.width)
        return weights.argmax(1).repeat_interleave(samples)
