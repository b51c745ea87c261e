"""Next tokens from the index set of a sparse difference, whatever was done to its values.

In language modelling a difference has the vocabulary's width, and only its s entries of largest size cross, with their
indices. Of e_y - p the entry at the next token y is 1 - p_y, and no other is larger: y is always among the indices. All
others are the public backbone's own likeliest tokens, which a server recomputes from the states: what they do not
explain is y. Where y is itself among the likeliest, the set says only that, and the values are asked. Untransformed or
scaled, the one positive value is y's, and that is the end of it: iDLG's sign attack, which `sign` is on classes. Else
how they were transformed is read off the positions that the set alone decides: under one secret scale or rotation
their lengths still tell the candidates apart, rounded their directions do as well, and what the transform has destroyed
weighs nothing.
Threat model: a server that knows the backbone and receives the states after its last block at every position.
Source: own derivation.

What crosses (pae_lm): kind "difference" with the tensors "indices" (P, s) and "values" (P, s), and "lengths" where a
message holds several samples: each sample's positions in order, from the first opening token on, each with the token
after it as its target; the last token has none. Kind "activations" as in MobiLLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, TextGuess
from ..evidence.positions.completions import parted
from ..evidence.positions.next_tokens import next_texts


@dataclass(frozen=True)
class Support(Attack):
    """What the backbone's likeliest tokens do not explain is the next token."""

    name = "support"
    source = "own derivation"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"difference", "activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {**CAUSAL_ONLY, "positions": ("all",)}

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """Each sample's own tokens, from the text's first on."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        ids, texts = next_texts(view, public)
        return TextGuess(ids, tuple(parted(text, backbone, public.facts).text for text in texts))
