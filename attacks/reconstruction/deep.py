"""Text from all positions after a cut, behind a private bottom that is trained meanwhile.

`match` compares candidates under the public bottom, and falls with the distance between that and the device's. Here a
reader learns from shadow bottoms (evidence/positions/shadow_bottoms.py) to name likely tokens in spite of such drift;
candidates are told apart by their states under an estimate of the device's bottom; and each message's texts, once
recovered, move the estimate to where the device's bottom was when it sent them (evidence/positions/drift.py). A server
that listens from the first message on starts at the public bottom, which the device starts from too, and follows it
step by step; one that listens later starts from what the reader says of its first messages.

The gradients that the server sends back are its own computation from states and labels that it has: they say nothing
more about a text, beyond how the bottom moves, and that is estimated from the states themselves. Matching them, as BiSR
does where a client keeps the head, would add nothing here.

Where the bottom is frozen `match` needs nothing of this, and this attack does not apply. Several devices are followed
as if they were one.

Memory, measured on sidelight-tiny with 320 texts of up to 32 tokens: 900 MiB in `prepare` and 800 in a run, 530 of them
before either begins. It grows by the bottom's size, with its gradient and two moments of AdamW, by the texts of a few
messages, and with the vocabulary only by tables of embeddings: log-odds are bounded
(evidence/positions/position_reader.py).

Threat model: a server that knows the public backbone, the prompt and the training recipe, and has labelled auxiliary
texts; it receives states and lengths, every pass over the data.
Source: BiSR (arXiv 2409.00960), learned inverter and matching of activations; vocabulary matching (arXiv 2505.18332).
Shadow bottoms with drift, and the bottom that is followed: ours.

Shapes: B texts, T positions, C candidates, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.backbone import load_backbone
from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.positions.drift import Recovered, Sent, Tracker
from ..evidence.positions.position_reader import stored_reader
from ..evidence.positions.shadow_bottoms import recipe_of
from ..evidence.positions.shadow_lessons import Lessons, learnt_reader
from ..evidence.states import FACTS, LARGEST
from ..workbench import Workbench

BEFORE = 3
"""Messages before the newest one to which the estimate must hold as well."""
EXACT = 1e-4
"""Mean relative distance at which an estimate leaves nothing to improve."""


@dataclass(frozen=True)
class Deep(Attack):
    """Reads, matches and follows."""

    name = "deep"
    source = "arXiv 2409.00960 and 2505.18332"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone", "auxiliary"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {**CAUSAL_ONLY, "positions": ("all",), "bottom": ("trainable",)}
    studies = Studied(
        frozenset({"auxiliary", "backbone"}),
        FACTS | {"lora", "rank"},
        frozenset({"shadows", "steps", "batch"}),
    )

    round: int = 0
    """The first pass over the data that the server listens to; every text is taken from that pass."""
    shadows: int = 2
    """Bottoms that are trained on auxiliary labels; each is used as it was after every pass."""
    steps: int = 300
    """Of the reader's learning, on `batch` made texts each."""
    batch: int = 32
    candidates: int = 256
    """Tokens that are tried at most at each position."""
    moves: int = 12
    """Steps of the estimated bottom for every message."""
    rate: float = 0.1
    """Of those steps, as a share of the device's learning rate: a low-rank update of a map changes each weight less."""

    def __post_init__(self) -> None:
        for name, value in (("steps", self.steps), ("batch", self.batch), ("candidates", self.candidates)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """The reader, and how its states vary."""
        return learnt_reader(public, Lessons(self.shadows, self.steps, self.batch), generator, bench)

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """Tokens of every asked sample that crossed in the pass."""
        assert public.backbone is not None
        backbone, recipe = load_backbone(public.backbone), recipe_of(public.facts)
        tail = backbone.token_ids(public.facts["prompt"])
        reader = stored_reader(backbone, prepared)
        tracker = Tracker(backbone, recipe, tail, self.rate)
        found: dict[str, tuple[int, ...]] = {}
        before: list[tuple[tuple[int, ...], torch.Tensor]] = []
        for sequences in view.batches(self.round):
            states = [one.activations[:, 0].clamp(-LARGEST, LARGEST) for one in sequences]
            likely = reader.likely(states, self.candidates)
            texts = [Sent(s, *best) for s, best in zip(states, likely, strict=True)]
            rows = self._followed(tracker, texts, before)
            found.update({one.sample_id: row.tokens for one, row in zip(sequences, rows, strict=True)})
            known = [(row.tokens, text.states) for row, text in zip(rows, texts, strict=True)]
            before = [*before, *known][-BEFORE * len(known) :]
        wanted = [i for i in public.targets or found if i in found]
        return TextGuess(tuple(wanted), tuple(found[i] for i in wanted))

    def _followed(
        self, tracker: Tracker, texts: list[Sent], before: list[tuple[tuple[int, ...], torch.Tensor]]
    ) -> list[Recovered]:
        """A message's texts under the estimate so far, and again under the one that they lead to."""
        rows = tracker.recovered(texts)
        if max(row.distance for row in rows) <= EXACT:
            return rows
        known = [(row.tokens, text.states) for row, text in zip(rows, texts, strict=True)]
        tracker.fit([*before, *known], self.moves)
        return tracker.recovered(texts)
