"""Labels spelled out: in language modelling the words of a class are text, and next tokens are read off as any others.

Each sample's tokens are found as `support` finds them; what stands behind the prompt is compared with the words of all
classes, token by token from the first on.
Threat model: a server that knows the backbone and the prompt, and receives the states after its last block.
Source: own derivation.

Shapes: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.language import completion
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.positions.completions import parted
from ..evidence.positions.next_tokens import next_texts
from ..evidence.states import WORDS


@dataclass(frozen=True)
class Spelled(Attack):
    """The class whose words have most in common with what follows the prompt."""

    name = "spelled"
    source = "own derivation"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **CAUSAL_ONLY,
        "positions": ("all",),
        "completion": (WORDS,),
    }

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A class (N,) for every sample that sent both kinds."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        names = [backbone.token_ids(completion(label)) for label in public.labels]
        ids, texts = next_texts(view, public)
        found = [_nearest(parted(text, backbone, public.facts).words, names) for text in texts]
        return LabelGuess(ids, torch.tensor(found, dtype=torch.int64))


def _nearest(words: Sequence[int], names: Sequence[Sequence[int]]) -> int:
    """The place of the name that shares the largest part of the longer one's tokens; the first of several."""
    shares = [sum(a == b for a, b in zip(words, name, strict=False)) / max(len(words), len(name)) for name in names]
    return shares.index(max(shares))
