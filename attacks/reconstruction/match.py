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
from typing import ClassVar, cast

import torch

from ...system.backbone import load_backbone
from ...system.codec import Precision, through
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..evidence.positions.deviations import calibrate
from ..evidence.positions.matching import Known, Search
from ..evidence.positions.ranking import fit
from ..workbench import Workbench

RANKING_TEXTS = 256
"""Auxiliary texts that the ranking is fitted on."""

TEXTS = 16
"""Texts of a pass in `prepare`; deviations are measured on the first of them."""


@dataclass(frozen=True)
class Match(Attack):
    """Vocabulary matching, all positions at once."""

    name = "match"
    source = "arXiv 2510.15511 and 2505.18332"
    goal = Goal.TEXTS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone", "auxiliary"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"positions": ("all",)}
    studies = Studied(frozenset({"backbone", "auxiliary"}), frozenset({"layers", "longest", "precision", "prompt"}))

    round: int = 0
    """The pass over the data whose activations are matched: what counts where the bottom is trained."""
    candidates: int = 16
    """Tokens tried at first where the likeliest does not fit; then 16 times as many, and so on."""
    widest: int = 0
    """Tokens tried at most; 0 for the whole vocabulary."""

    @torch.no_grad()
    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """The ranking's `whiten` and `table`, and `bounds` (n,) and `side_by_side` () of its passes."""
        assert public.backbone is not None
        backbone, layers = load_backbone(public.backbone), list(public.facts["layers"])
        precision = cast(Precision, public.facts["precision"])
        texts = [example.text for example in public.auxiliary[:RANKING_TEXTS]]
        batches = [
            backbone.tokens(texts[i : i + TEXTS], public.facts["longest"], public.facts["prompt"])
            for i in range(0, len(texts), TEXTS)
        ]
        deviations = calibrate(backbone, layers, batches[0], precision)
        masks = [tokens.mask.bool() for tokens in batches]
        states = [
            through(backbone.activations(tokens, layers[0])[:, :, -1][mask], precision)
            for tokens, mask in zip(batches, masks, strict=True)
        ]
        ids = torch.cat([tokens.ids[mask] for tokens, mask in zip(batches, masks, strict=True)])
        found = fit(backbone, layers[0], torch.cat(states), ids)
        return {**found, "bounds": deviations.bounds, "side_by_side": torch.tensor(deviations.side_by_side)}

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """Tokens of every asked sample that crossed in the round."""
        assert public.backbone is not None
        backbone = load_backbone(public.backbone)
        wanted = frozenset(public.targets)
        tail = len(backbone.token_ids(public.facts["prompt"]))
        found = {
            s.sample_id: s.activations[: len(s.activations) - tail]
            for s in view.sequences(self.round)
            if not wanted or s.sample_id in wanted
        }
        known = Known(backbone, list(public.facts["layers"]), cast(Precision, public.facts["precision"]), prepared)
        search = Search(known, self.candidates, self.widest or backbone.vocabulary)
        rows = search.texts(list(found.values()), backbone.prefix)
        return TextGuess(tuple(found), tuple(row.tokens for row in rows), tuple(row.sure for row in rows))
