"""Text from pivots by a decoder that has learned to write texts from their pivots.

In `prepare` a copy of the public backbone learns, on texts made from auxiliary ones and from what the backbone writes
(evidence/made_texts.py), to write a text from its pivots of all layers (evidence/decoder.py). The likeliest texts by
beam search are then run through the backbone, and the one is taken whose pivots come nearest to those received, in
directions made uncorrelated.

That text is then changed, in one token or the order of two neighbours, as long as its pivots come nearer.

A text is certified where its pivots reproduce those received up to rounding, and those of no such change do. Under
quantisation nothing is certified: many texts share what is received.

Threat model: a server that knows the backbone, the prompt and the longest text, and receives pivots. Lengths are not
known: a text ends where the decoder says so.
Source: Rep2Text (arXiv 2511.06571); learned inverters of BiSR (arXiv 2409.00960). Texts made on the way, uncorrelated
features, ordering by the backbone, and certification: ours.

Shapes: N samples, P positions that stand for a text, L layers, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.inverting import Inverter, Training, learnt
from ..evidence.states import FACTS, crossed_states
from ..workbench import Workbench


@dataclass(frozen=True)
class LearnedInverter(Attack):
    """Writes a text from its pivots."""

    name: ClassVar[str] = "inverter"
    source: ClassVar[str] = "arXiv 2511.06571 and 2409.00960"
    goal: ClassVar[Goal] = Goal.TEXTS
    needs: ClassVar[Needs] = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked: ClassVar[frozenset[str]] = frozenset({"activations"})
    studies: ClassVar[Studied | None] = Studied(
        frozenset({"auxiliary", "backbone"}), FACTS, frozenset({"texts", "steps", "batch", "rate"})
    )

    texts: int = 8192
    """Made texts of the linear readings from which learning starts."""
    steps: int = 300
    """Of learning, on `batch` new texts each."""
    batch: int = 64
    rate: float = 1e-3
    """AdamW's learning rate; it rises at first and then falls to zero."""
    beam: int = 8
    """Texts that are written of each sample, one of which is chosen by the backbone."""
    rounds: int = 0
    """Changes at most that are then made to it, one after the other; each tries some hundred texts."""

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("batch", self.batch), ("beam", self.beam)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """The decoder, and what makes states uncorrelated."""
        return learnt(public, Training(self.texts, self.steps, self.batch, self.rate), generator, bench)

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """A text for every asked sample."""
        ids, states = crossed_states(view, public)
        wanted = [i for i, sample_id in enumerate(ids) if not public.targets or sample_id in set(public.targets)]
        received = states[wanted].flatten(1)
        inverter = Inverter(public, prepared, generator)
        labels = torch.full((len(wanted),), -1)
        rows = []
        for one, texts in zip(received, inverter.texts(received, labels, self.beam), strict=True):
            best = inverter.nearest([text.tokens for text in texts], one)
            rows.append(inverter.improved(best.tokens, one, self.rounds))
        exact = public.facts.get("precision", "fp32") in ("fp32", "fp16")
        sure = tuple(certain for _, certain in rows) if exact else ()
        return TextGuess(tuple(ids[i] for i in wanted), tuple(tokens for tokens, _ in rows), sure)
