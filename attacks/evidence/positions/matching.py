"""The search for texts whose states come out as received: guess all places at once, verify, repair, certify.

Shapes: B texts, T positions, m places of a text, C branches of a text, k candidates, n layers that crossed, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from ....system.backbone import Backbone
from ....system.codec import Precision
from ...attack import Prepared
from .branching import Branching
from .cells import cells_of
from .ranking import neighbours, ranked

POSITIONS = 1024
"""Positions of a batch of texts: bounds its memory."""

EARLY = 3
"""Rounds in which all doubtful places of a text are tried, not only the first."""

WIDER = 16
"""By how much the candidates grow where none fits."""

SUBSTITUTES = 4
"""Other tokens that must not fit at a place: those that are hardest to tell from the one found."""

NEAR = 1e-2
"""A distance over the norm at which a substitute is so near that others like it are tested as well."""

TWINS = 64
"""How many then, at first."""


@dataclass(frozen=True)
class Known:
    """What the search knows beside the states."""

    backbone: Backbone
    layers: Sequence[int]
    """Blocks that crossed: the first decides alone as far as it can, then all together."""
    precision: Precision
    prepared: Prepared
    """Of `ranking.fit`, with `bounds` (n,) and `side_by_side` () of `deviations.calibrate`."""

    def opened(self, ids: torch.Tensor, count: int) -> Branching:
        """Texts (B, T) run through the first `count` layers that crossed."""
        return Branching(self.backbone, self.layers[:count], ids, bool(self.prepared["side_by_side"]))


class Recovered(NamedTuple):
    """One text's tokens, and whether they are certified."""

    tokens: tuple[int, ...]
    sure: bool


class Search:
    """Texts from their states; `first` candidates are tried at first, `widest` at most."""

    def __init__(self, known: Known, first: int, widest: int) -> None:
        vocabulary = known.backbone.vocabulary
        self._known = known
        self._first, self._widest = min(first, widest, vocabulary), min(widest, vocabulary)

    @torch.no_grad()
    def texts(self, states: Sequence[torch.Tensor], opening: Sequence[int]) -> list[Recovered]:
        """Each text's tokens without the opening ones, from its states (T, n, d), in the order given."""
        found: dict[int, Recovered] = {}
        for rows in _batches([len(text) for text in states]):
            batch = Batch(self._known, [states[row] for row in rows], opening, self._first)
            batch.search(self._widest)
            found.update(zip(rows, batch.recovered(), strict=True))
        return [found[row] for row in range(len(states))]


class Batch:
    """Texts that advance together."""

    def __init__(self, known: Known, states: Sequence[torch.Tensor], opening: Sequence[int], first: int) -> None:
        self._known, self._first, self._start = known, first, len(opening)
        self._received = pad_sequence(list(states), batch_first=True)
        self._lengths = torch.tensor([len(text) for text in states])
        places = torch.arange(self._received.shape[1])
        self._asked = (places >= self._start) & (places < self._lengths.unsqueeze(1))
        """(B, T) where a token of the text stands"""
        self._likely = torch.zeros(*self._asked.shape, first, dtype=torch.int64)
        self._likely[self._asked] = ranked(known.prepared, self._received[:, :, 0][self._asked], first)
        self._ids = self._likely[:, :, 0].clone()
        self._ids[:, : self._start] = torch.tensor(list(opening), dtype=torch.int64)
        self._look_at(1)

    def _look_at(self, layers: int) -> None:
        """Judge by the first so many layers from now on; nothing is settled."""
        self._layers = layers
        self._cells = cells_of(self._received[:, :, :layers], self._known.precision)
        self._bounds = self._known.prepared["bounds"][:layers]
        self._settled = ~self._asked

    def search(self, widest: int) -> None:
        """Until every place has a token that fits at all layers, or has tried all that it may."""
        self._fits = self._matched(torch.arange(len(self._ids)), widest)
        if self._received.shape[2] > 1:
            self._look_at(self._received.shape[2])
            explained = self._fits.nonzero().squeeze(1)
            self._fits[explained] = self._matched(explained, widest)[explained]

    def recovered(self) -> list[Recovered]:
        """What was found; certified where it fits everywhere and no substitute does."""
        sure = self._fits.clone()
        sure[self._replaceable(sure.nonzero().squeeze(1))] = False
        rows = zip(self._ids.tolist(), self._lengths.tolist(), sure.tolist(), strict=True)
        return [Recovered(tuple(ids[self._start : length]), certain) for ids, length, certain in rows]

    def _matched(self, alive: torch.Tensor, widest: int) -> torch.Tensor:
        """Repair doubtful places of the texts; returns (B,) which of them fit everywhere at last."""
        fits, rounds = torch.zeros(len(self._ids), dtype=torch.bool), 0
        while len(alive):
            text = self._known.opened(self._ids[alive], self._layers)
            apart = self._misfit(self._cells.at(alive).distances(text.states))
            wrong = self._asked[alive] & ~(apart <= 1)
            fits[alive] = ~wrong.any(1)
            doubtful = wrong & ~self._settled[alive]
            if doubtful.any():
                self._widen(self._try(text, alive, doubtful, first_only=rounds >= EARLY), widest)
            alive, rounds = alive[doubtful.any(1)], rounds + 1
        return fits

    def _try(
        self, text: Branching, rows: torch.Tensor, doubtful: torch.Tensor, first_only: bool
    ) -> list[tuple[int, int, float]]:
        """Put the nearest of the first candidates at doubtful places (B, T); the first of each text is settled.

        Returns the texts whose first doubtful place found none that fits: row, place and the misfit reached.
        """
        count = 1 if first_only else int(doubtful.sum(1).max())
        places = doubtful.int().argsort(dim=1, descending=True, stable=True)[:, :count]
        asked = doubtful.gather(1, places)
        likely = self._likely[rows.unsqueeze(1), places]
        apart = self._distances(text, rows, places.repeat_interleave(self._first, 1), likely.flatten(1))
        nearest = self._misfit(apart).view(likely.shape).min(2)
        tokens = likely.gather(2, nearest.indices.unsqueeze(2)).squeeze(2)
        self._ids[rows.unsqueeze(1).expand_as(places)[asked], places[asked]] = tokens[asked]
        first = asked[:, 0].nonzero().squeeze(1)
        self._settled[rows[first], places[first, 0]] = True
        far = first[nearest.values[first, 0] > 1]
        return list(zip(rows[far].tolist(), places[far, 0].tolist(), nearest.values[far, 0].tolist(), strict=True))

    def _widen(self, far: list[tuple[int, int, float]], widest: int) -> None:
        """Try more candidates at one place of each text that is named; what stands before it is settled."""
        width = self._first
        while far and width < widest:
            tried, width = width, min(WIDER * width, widest)
            rows, places = (torch.tensor([one[i] for one in far]) for i in (0, 1))
            order = ranked(self._known.prepared, self._received[rows, places, 0], width)[:, tried:]
            text = self._known.opened(self._ids[rows], self._layers)
            nearest = self._misfit(self._distances(text, rows, places.unsqueeze(1).expand_as(order), order)).min(1)
            left = []
            for i, (row, place, reached) in enumerate(far):
                if (found := float(nearest.values[i])) < reached:
                    self._ids[row, place] = order[i, nearest.indices[i]]
                if min(found, reached) > 1:
                    left.append((row, place, min(found, reached)))
            far = left

    def _misfit(self, distances: torch.Tensor) -> torch.Tensor:
        """The largest distance (..., n) over its bound: (...); at most 1 for what fits."""
        return (distances / self._bounds).amax(-1)

    def _distances(
        self, text: Branching, rows: torch.Tensor, places: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """(B, C, n) of tokens (B, C) at places (B, C) of the texts of the rows (B,)."""
        which = rows.unsqueeze(1).expand_as(places)
        parts = zip(*(t.split(text.step, 1) for t in (which, places, tokens)), strict=True)
        return torch.cat([self._cells.at((r, p)).distances(text.branches(p, t)) for r, p, t in parts], 1)

    def _replaceable(self, rows: torch.Tensor) -> torch.Tensor:
        """Those of the rows where another token fits at some place."""
        if not len(rows):
            return rows
        others = neighbours(self._known.prepared, self._ids[rows].flatten(), SUBSTITUTES).unflatten(0, (len(rows), -1))
        places = torch.arange(others.shape[1]).repeat_interleave(others.shape[2]).expand(len(rows), -1)
        self._look_at(1)
        text = self._known.opened(self._ids[rows], 1)
        apart = self._distances(text, rows, places, others.flatten(1)).view(others.shape)
        near = (apart <= NEAR).any(2) & self._asked[rows]
        self._look_at(self._received.shape[2])
        replaceable: set[int] = set()
        for at, place in near.nonzero().tolist():
            if (row := int(rows[at])) not in replaceable and self._has_twin(row, place):
                replaceable.add(row)
        return torch.tensor(sorted(replaceable), dtype=torch.int64)

    def _has_twin(self, row: int, place: int) -> bool:
        """Whether another token fits at a place at all layers, among its neighbours as far as they are near."""
        rows, width, others = torch.tensor([row]), 0, self._known.backbone.vocabulary - 1
        text = self._known.opened(self._ids[rows], self._layers)
        while width < others:
            tested, width = width, min(max(WIDER * width, TWINS), others)
            order = neighbours(self._known.prepared, self._ids[rows, place], width)[:, tested:]
            apart = self._distances(text, rows, torch.full_like(order, place), order)
            if (self._misfit(apart) <= 1).any():
                return True
            if not (apart[..., 0] <= NEAR).any():
                return False
        return False


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows of like length, the shortest first, as many as the positions of a batch allow."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and (len(rows) + 1) * lengths[row] > POSITIONS:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
