"""The least that a pivot tells of a text: how many tokens it has, and which of them is the pivot itself.

Both are read linearly off the pivot's first layers, as they would cross of reference texts: the length by a
discriminant, the last token by a least-squares fit of its embedding. Behind a prompt the pivot is the prompt's last
token, which is public, and the length alone is read; so it is where all positions are pooled. The other places hold
the token that auxiliary texts have most often there: what this attack finds above its twins is length and last token.

Threat model: a server that knows the backbone and the prompt, and receives the pivot's states.
Source: ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.pivots.reference import read_last, read_lengths, readings, reference_texts
from ..evidence.states import FACTS, PLAIN, asked_states
from ..workbench import Workbench


@dataclass(frozen=True)
class Lookup(Attack):
    """Length and last token."""

    name = "lookup"
    source = "ours: the length and the last token, no other place"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "positions": ("pivot", "mean"),
        "selector": ("last", "mean"),
        "activations": (PLAIN,),
    }
    studies = Studied(frozenset({"backbone", "auxiliary"}), FACTS)

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`usual` (T,): the commonest token of each place; how lengths up to T and last tokens are read off pivots."""
        assert public.backbone is not None
        backbone, longest = load_backbone(public.backbone), public.facts["longest"]
        texts = reference_texts(backbone, public, generator)
        own = [row for e in public.auxiliary if (row := backbone.token_ids(e.text, longest))]
        usual = torch.tensor(_usual(own or texts.tolist(), longest))
        return {"usual": usual, **readings(backbone, public, texts, generator)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text of the likeliest length for every sample."""
        assert public.backbone is not None
        ids, states = asked_states(view, public)
        if not ids:
            return TextGuess((), ())
        lengths = read_lengths(states, prepared)[:, 0].tolist()
        texts = [prepared["usual"][:length].tolist() for length in lengths]
        if public.facts["selector"] == "last" and not public.facts["prompt"]:
            last = read_last(load_backbone(public.backbone), states, prepared, 1)[:, 0].tolist()
            texts = [[*text[:-1], token] for text, token in zip(texts, last, strict=True)]
        return TextGuess(ids, tuple(map(tuple, texts)))


def _usual(rows: Sequence[Sequence[int]], longest: int) -> list[int]:
    """At each place the token that most rows have there; behind all of them, the commonest token."""
    columns = [Counter(row[at] for row in rows if at < len(row)) for at in range(longest)]
    anywhere = sum(columns, Counter[int]())
    return [(column or anywhere).most_common(1)[0][0] for column in columns]
