"""Exact reconstruction from all positions' activations of a public frozen backbone, certified where it is.

In a causal model a position's state depends on the tokens up to it alone. All positions are guessed at once by a closed
form (evidence/positions/ranking.py), and one pass over the guesses shows which states come out as received: up to the
first that does not, the guess is right. That place, and at first the other doubtful ones as well, tries its likeliest
tokens behind what stands before it, then WIDER times as many, up to the whole vocabulary. Texts of a batch advance
together; the shared text is run once for all its places (evidence/positions/branching.py).

A state comes out as received where it lies in the cells of the received bytes (evidence/positions/cells.py), up to what
passes of other shapes differ by, which is measured on auxiliary text. The nearest token is taken where none fits.

Certified: every received layer of the guess, run whole, lies in its cells up to that deviation (so re-encoding gives
the received bytes, but for values that lie so near an edge), and at no place does a tested substitute: the SUBSTITUTES
likeliest other tokens, at the matched block.

Threat model: a server that knows the backbone, the opening tokens and the prompt, and receives states and lengths.
Positions: learned and rotary in shared passes; families that count positions themselves (ALiBi) with a row for every
try, which is slower. A model whose states depend on later tokens is refused.
Source: SipIt (arXiv 2510.15511); vocabulary matching (arXiv 2505.18332). Ranking, cells and certification: ours.

Shapes: B texts, T positions, C candidates, n layers that crossed, V vocabulary, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import CAUSAL_ONLY, Attack, Goal, Needs, Prepared, TextGuess
from ..evidence.positions.found_texts import STUDIES, found_texts, ranking
from ..workbench import Workbench


@dataclass(frozen=True)
class Match(Attack):
    """Vocabulary matching, all positions at once."""

    name = "match"
    source = "arXiv 2510.15511 and 2505.18332"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone", "auxiliary"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {**CAUSAL_ONLY, "positions": ("all",)}
    studies = STUDIES

    round: int = 0
    """The pass over the data whose activations are matched: what counts where the bottom is trained."""
    candidates: int = 16
    """Tokens tried at first where the likeliest does not fit; then 16 times as many, and so on."""
    widest: int = 0
    """Tokens tried at most; 0 for the whole vocabulary."""

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """What ranks candidates, and how far passes deviate."""
        return ranking(public)

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """Tokens of every asked sample that crossed in the round."""
        wanted = frozenset(public.targets)
        asked = [one for one in view.sequences(self.round) if not wanted or one.sample_id in wanted]
        last = {one.sample_id: one for one in asked}
        rows = found_texts(list(last.values()), public, prepared, self.candidates, self.widest)
        return TextGuess(tuple(last), tuple(row.tokens for row in rows), tuple(row.sure for row in rows))
