"""Texts that cross in clear: the baseline that needs no attack.

Threat model: any server of a protocol that sends token ids, as targets of a language-modelling loss, for instance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, TextGuess


@dataclass(frozen=True)
class Cleartext(Attack):
    """Reads the token ids."""

    name = "cleartext"
    source = "no source needed: the message holds the tokens"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"tokens"}))
    attacked = frozenset({"tokens"})

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """The tokens of each sample as first received."""
        found: dict[str, tuple[int, ...]] = {}
        for message in view.of("tokens"):
            parts = message.tensors["tokens"].split(message.tensors["lengths"].tolist())
            for sample_id, part in zip(message.sample_ids, parts, strict=True):
                found.setdefault(sample_id, tuple(part.tolist()))
        return TextGuess(tuple(found), tuple(found.values()))
