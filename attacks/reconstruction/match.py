"""Exact reconstruction, token by token, from all positions' activations of a block of a public frozen backbone.

Position by position, every candidate token is run behind the prefix recovered so far, and the one whose state after
the block is nearest to the received state is taken. In a causal model the state depends on nothing else, so with an
exact backbone the right token is at distance zero, up to rounding.

Two things make it fast: the prefix is run once and its keys and values are shared by all candidates, of many texts at
a time; and the vocabulary is tried in order of a least-squares reading of the state, fitted on auxiliary text, so that
the whole of it is needed only where no early candidate fits.

Threat model: a server that knows the backbone, the opening tokens and the prompt, and receives states and lengths.
Source: SipIt (arXiv 2510.15511); vocabulary matching (arXiv 2505.18332). Batching, ordering and certification: ours.

Shapes: B texts, T positions, C candidates, V vocabulary, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch

from ...system.backbone import Backbone, load_backbone
from ...system.codec import Precision, through
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, Studied, TextGuess
from ..workbench import Workbench

ROWS = 4096
"""Candidate rows of one forward pass: bounds the memory of the shared prefix."""

WIDER = 16
"""By how much the candidates grow where none fits."""

CALIBRATION_TEXTS = 64
"""Auxiliary texts that the ordering and the bound are fitted on."""

RIDGE = 1e-3


class Best(NamedTuple):
    """The nearest candidate of each text, and how far it and the next one are; each (B,)."""

    token: torch.Tensor
    distance: torch.Tensor
    runner_up: torch.Tensor


@dataclass(frozen=True)
class Match(Attack):
    """Vocabulary matching with a shared prefix."""

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
    """Tokens tried first; WIDER times as many where none of them fits within the bound, and so on."""
    widest: int = 0
    """Tokens tried at most; 0 for the whole vocabulary."""

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """`reading` (d + 1, d): states to embeddings; `bound` (): the largest distance of a right token."""
        backbone, block = _knowledge(public)
        precision = cast(Precision, public.facts["precision"])
        texts = [example.text for example in public.auxiliary[:CALIBRATION_TEXTS]]
        tokens = backbone.tokens(texts, public.facts["longest"], public.facts["prompt"])
        exact = backbone.activations(tokens, block)[:, :, -1]
        mask = tokens.mask.bool()
        received = through(exact[mask], precision)
        embeddings = backbone.model.get_input_embeddings().weight[tokens.ids[mask]]
        inputs = _with_one(received)
        gram = inputs.T @ inputs + RIDGE * len(inputs) * torch.eye(inputs.shape[1])
        # incremental and whole passes round differently, by about 1e-6 of the norm
        error = (received - exact[mask]).norm(dim=1) / received.norm(dim=1)
        return {"reading": torch.linalg.solve(gram, inputs.T @ embeddings), "bound": 1.5 * error.max() + 1e-4}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> TextGuess:
        """Tokens of every asked sample that crossed in the round."""
        backbone, block = _knowledge(public)
        wanted = frozenset(public.targets)
        found = [s for s in view.sequences(self.round) if not wanted or s.sample_id in wanted]
        states = [s.activations[:, 0] for s in found]
        tail = len(backbone.token_ids(public.facts["prompt"])) if public.facts["prompt"] else 0
        search = Search(backbone, block, prepared, self.candidates, self.widest or backbone.vocabulary)
        rows = search.texts(states, tail)
        # a bound as wide as integer rounding would certify near misses as well: there, nothing is certified
        exact = public.facts["precision"] in ("fp32", "fp16")
        sure = tuple(r.sure for r in rows) if exact else ()
        return TextGuess(tuple(s.sample_id for s in found), tuple(r.tokens for r in rows), sure)


class Recovered(NamedTuple):
    """One text's tokens, and whether at each step one candidate alone, of those tried, fitted within the bound."""

    tokens: tuple[int, ...]
    sure: bool


class Search:
    """The position-by-position search of many texts at a time."""

    def __init__(self, backbone: Backbone, block: int, prepared: Prepared, first: int, widest: int) -> None:
        self._backbone, self._block = backbone, block
        self._reading, self._bound = prepared["reading"], float(prepared["bound"])
        self._first, self._widest = min(first, backbone.vocabulary), min(widest, backbone.vocabulary)
        self._embeddings = backbone.model.get_input_embeddings().weight

    def texts(self, states: Sequence[torch.Tensor], tail: int) -> list[Recovered]:
        """Each text's tokens from its states (T, d), less the opening tokens and the prompt's `tail`."""
        opening = self._backbone.prefix
        prefixes = [list(opening) for _ in states]
        sure = [True] * len(states)
        for position in range(len(opening), max((len(s) - tail for s in states), default=0)):
            alive = [i for i, s in enumerate(states) if position < len(s) - tail]
            best = self._step([prefixes[i] for i in alive], torch.stack([states[i][position] for i in alive]))
            certain = (best.distance <= self._bound) & (best.runner_up > self._bound)
            for row, i in enumerate(alive):
                prefixes[i].append(int(best.token[row]))
                sure[i] = sure[i] and bool(certain[row])
        return [Recovered(tuple(p[len(opening) :]), s) for p, s in zip(prefixes, sure, strict=True)]

    def _step(self, prefixes: list[list[int]], received: torch.Tensor) -> Best:
        """The next token of each prefix (equal lengths), from the received states (B, d)."""
        guesses = _with_one(received) @ self._reading
        order = torch.cdist(guesses, self._embeddings).topk(self._widest, largest=False).indices
        width = self._first
        best = self._nearest(prefixes, received, order[:, :width])
        while width < self._widest and len(far := (best.distance > self._bound).nonzero().squeeze(1)):
            width = min(WIDER * width, self._widest)
            wider = self._nearest([prefixes[i] for i in far.tolist()], received[far], order[far, :width])
            for field, found in zip(best, wider, strict=True):
                field[far] = found
        return best

    def _nearest(self, prefixes: list[list[int]], received: torch.Tensor, candidates: torch.Tensor) -> Best:
        """The best of the candidates (B, C), by relative distance to the received states (B, d)."""
        distances = torch.cat(
            [
                self._distances(prefixes[i : i + step], received[i : i + step], candidates[i : i + step])
                for step in [max(1, ROWS // candidates.shape[1])]
                for i in range(0, len(prefixes), step)
            ]
        )
        nearest = distances.topk(2, dim=1, largest=False)
        token = candidates.gather(1, nearest.indices[:, :1]).squeeze(1)
        return Best(token, nearest.values[:, 0], nearest.values[:, 1])

    def _distances(self, prefixes: list[list[int]], received: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """Relative distances (B, C)."""
        states = self._backbone.branches(prefixes, candidates, self._block)
        distances: torch.Tensor = (states - received.unsqueeze(1)).norm(dim=2) / received.norm(dim=1, keepdim=True)
        return distances


def _knowledge(public: Public) -> tuple[Backbone, int]:
    assert public.backbone is not None
    return load_backbone(public.backbone), int(public.facts["layers"][0])


def _with_one(states: torch.Tensor) -> torch.Tensor:
    """(N, d) to (N, d + 1): a column of ones carries the constant."""
    return torch.cat([states, torch.ones(len(states), 1)], 1)
