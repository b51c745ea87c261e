"""Text from pivots by a decoder that has learned to write texts from their pivots.

In `prepare` a copy of the public backbone learns, on texts made from auxiliary ones and from what the backbone writes
(evidence/made_texts.py), to write a text from its pivots of all layers (evidence/pivots/decoder.py). They are made as
the device makes them: with its clip, its noise and its precision. The likeliest texts by beam search are then run
through the backbone, and the one is taken whose pivots come nearest to those received, in directions made uncorrelated.

Nothing is certified: many texts are about as near.

Memory, measured: 1.2 GiB on sidelight-tiny with texts of 16 tokens, and 1.8 on random weights of 3 blocks of the same
width with 50,272 tokens and texts of 32; 0.55 of it before anything begins. With the vocabulary V grow the readings of
its tokens, two or three times 4 (F + 1) V bytes with F features, at most 3,072, and the copy's embeddings, four times
4 d V bytes with their gradient and moments; how many log-odds are computed at a time is bounded
(evidence/pivots/decoder_lessons.py).

Threat model: a server that knows the backbone, the prompt and the longest text, and receives pivots. Lengths are not
known: a text ends where the decoder says so.
Source: Rep2Text (arXiv 2511.06571); learned inverters of BiSR (arXiv 2409.00960). Texts made on the way, uncorrelated
features, linear readings to start from, and the choice by the backbone: ours.

Shapes: N samples, L layers that crossed, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.pivots.decoder_lessons import Lessons, learnt_decoder
from ..evidence.pivots.inverting import Inverter
from ..evidence.states import FACTS, PLAIN, PROJECTED, asked_states
from ..workbench import Workbench


@dataclass(frozen=True)
class LearnedInverter(Attack):
    """Writes a text from its pivots."""

    name = "inverter"
    source = "arXiv 2511.06571 and 2409.00960"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **CAUSAL_ONLY,
        "positions": ("pivot", "mean"),
        "selector": ("last", "mean"),
        "activations": (PLAIN, PROJECTED),
    }
    studies = Studied(
        frozenset({"auxiliary", "backbone", "keys"}), FACTS, frozenset({"texts", "steps", "batch", "rate"})
    )

    texts: int = 8192
    """Made texts of the linear readings from which learning starts."""
    steps: int = 120
    """Of learning, on `batch` new texts each."""
    batch: int = 64
    rate: float = 1e-3
    """AdamW's learning rate; it rises at first and then falls to zero."""
    beam: int = 8
    """Texts that are written of each sample, one of which is chosen by the backbone."""

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("batch", self.batch), ("beam", self.beam)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """The decoder, and what makes states uncorrelated."""
        return learnt_decoder(public, Lessons(self.texts, self.steps, self.batch, self.rate), generator, bench)

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text for every asked sample."""
        ids, states = asked_states(view, public)
        if not ids:
            return TextGuess((), ())
        return TextGuess(ids, tuple(Inverter(public, prepared, generator).texts(states.flatten(1), self.beam)))
