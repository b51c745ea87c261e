"""A decoder that writes a text token by token from what was received of it.

It is a copy of the public backbone, which knows the language already. What was received, made uncorrelated, goes
through a small network to a few slots of vectors; each place of the text mixes the slots in its own way and adds them
to what enters the copy there, and other ones to what leaves it, in front of the output matrix. An end token of its own
stands behind the vocabulary.

Source: the decoder conditioned on hidden states follows arXiv 2511.06571 (Rep2Text) and 2409.00960 (BiSR's learned
inverter); uncorrelated features, places that mix slots, and the copy of the backbone are ours.

Shapes: B texts, T places, F features, K slots, d width, V vocabulary, W beams.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import gelu, one_hot
from transformers import DynamicCache

from ....system.backbone import Backbone

HIDDEN = 768
SLOTS = 16
BAG, PLACES = "bag", "places"
"""Names of linear readings: (F + 1, V) how often each token stands in a text, (F + 1, K d) what stands around where."""
LARGEST = 8.0
"""Standard deviations at which features are cut."""
SMALL = 0.1
"""How large the first vectors of slots are, over the embeddings."""


class Written(NamedTuple):
    """A text and the log-probability of its tokens, on average."""

    tokens: tuple[int, ...]
    likelihood: float


class Conditions(NamedTuple):
    """What is known of texts by what was received."""

    entering: torch.Tensor
    """(B, T + 1, d): added to what enters the copy."""
    leaving: torch.Tensor
    """(B, T + 1, d): added in front of the output matrix."""
    bag: torch.Tensor
    """(B, V): how often each token stands in the text."""


class Decoder(nn.Module):
    """Log-odds of the next token from features and the tokens before it."""

    def __init__(
        self,
        backbone: Backbone,
        readings: Mapping[str, torch.Tensor],
        longest: int,
        generator: torch.Generator,
    ) -> None:
        """`readings`: see linear_readings.py; they are where learning starts."""
        super().__init__()
        self.copy: Any = copy.deepcopy(backbone.model).requires_grad_(True)
        self.longest, self.end = longest, backbone.vocabulary
        entering = backbone.model.get_input_embeddings().weight
        self._in, self._out = entering.shape[1], backbone.model.get_output_embeddings().weight.shape[1]
        features = len(readings[BAG]) - 1
        self.bag = nn.Parameter(readings[BAG], requires_grad=False)
        self.bends = nn.Parameter(torch.tensor([4.0, 2.0, 0.0, 0.0]))
        self.direct = nn.Linear(features, SLOTS * self._out)
        self.direct.weight.data, self.direct.bias.data = readings[PLACES][:-1].T.clone(), readings[PLACES][-1].clone()
        self.stops = nn.Parameter(torch.tensor([0.0, 1.0]))
        self.gain = nn.Parameter(torch.tensor(0.3))
        self.first, self.second = nn.Linear(features, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.slots = nn.Linear(HIDDEN, SLOTS * (self._in + self._out))
        self.crossing = nn.Linear(self._out, self._in, bias=False)
        self.mixture = nn.Parameter(neighbours(longest + 1))
        self.opening = nn.Parameter(entering.mean(0, keepdim=True).detach().clone())
        self.ending = nn.Parameter(torch.zeros(1, self._out))
        small = SMALL * float(entering.std())
        spreads = {self.first: features**-0.5, self.second: HIDDEN**-0.5, self.slots: small, self.crossing: small}
        self._draw(spreads, generator)

    def _draw(self, spreads: Mapping[nn.Linear, float], generator: torch.Generator) -> None:
        """Weights of so many standard deviations, and no constants."""
        for layer, spread in spreads.items():
            layer.weight.data = spread * torch.randn(layer.weight.shape, generator=generator)
            if layer.bias is not None:
                layer.bias.data.zero_()

    def conditions(self, features: torch.Tensor) -> Conditions:
        """What is known of texts by their features (B, F)."""
        features = features.clamp(-LARGEST, LARGEST)
        hidden = gelu(self.first(features))
        slots = self.slots(hidden + gelu(self.second(hidden)))
        entering, leaving = slots.split([SLOTS * self._in, SLOTS * self._out], dim=1)
        direct = self.mixture @ self.direct(features).view(len(features), SLOTS, -1)
        mixed = [self.mixture @ part.view(len(part), SLOTS, -1) for part in (entering, leaving)]
        bag = features @ self.bag[:-1] + self.bag[-1]
        return Conditions(mixed[0] + self.crossing(direct), mixed[1] + self.gain * direct, bag)

    def forward(self, ids: torch.Tensor, entering: torch.Tensor, cache: Any = None) -> torch.Tensor:
        """What the copy gives (B, t, d) behind the opening and ids (B, t - 1); with a cache, behind ids (B, 1)."""
        table = self.copy.get_input_embeddings()
        rows = table(ids) if cache is not None and cache.get_seq_length() else self._opened(table(ids))
        hidden = self.copy.base_model(inputs_embeds=rows + entering, past_key_values=cache, use_cache=cache is not None)
        found: torch.Tensor = hidden.last_hidden_state
        return found

    def odds(self, vectors: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """Log-odds (N, V + 1) of the tokens and of the end, from vectors (N, d) and how often each token is missing."""
        found = vectors @ torch.cat([self.copy.get_output_embeddings().weight, self.ending]).T
        bent = [self.bends[0] * missing.clamp(min=0), self.bends[1] * (missing - 0.25).clamp(min=0)]
        bent += [self.bends[2] * (missing - 0.6).clamp(min=0), self.bends[3] * missing.clamp(max=0)]
        stop = self.stops[0] - self.stops[1] * missing.sum(1, keepdim=True).clamp(-LARGEST, LARGEST)
        return found + torch.cat([bent[0] + bent[1] + bent[2] + bent[3], stop], 1)

    def _opened(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.opening.expand(len(rows), 1, -1), rows], 1)

    @torch.no_grad()
    def written(self, features: torch.Tensor, beams: int) -> list[list[Written]]:
        """The likeliest texts of each row of features (B, F), the best first: at most `beams` of them."""
        count, device = len(features), features.device
        entering, leaving, bag = (part.repeat_interleave(beams, 0) for part in self.conditions(features))
        search = Beams(count, beams, self.end, device)
        cache: Any = None
        ids = torch.empty(count * beams, 0, dtype=torch.int64, device=device)
        for place in range(self.longest + 1):
            cache = DynamicCache() if cache is None else cache
            hidden = self(ids[:, -1:] if place else ids, entering[:, place : place + 1], cache)[:, -1]
            missing = bag.scatter_add(1, ids, torch.full(ids.shape, -1.0, device=device))
            odds = self.odds(hidden + leaving[:, place], missing).log_softmax(1)
            if not place:
                odds[:, self.end] = -torch.inf
            if place == self.longest:
                odds[:, : self.end] = -torch.inf
            rows, ids = search.step(odds, ids)
            if not search.growing:
                break
            cache.reorder_cache(rows)
        return search.found


class Beams:
    """The beginnings that are kept of each text, and the texts that have ended.

    A beginning ends where its end is among the likeliest continuations; ended texts are ordered by the log-probability
    of a token, so that short ones have no advantage.
    """

    def __init__(self, count: int, beams: int, end: int, device: torch.device) -> None:
        self._beams, self._end = beams, end
        self._scores = torch.full((count, beams), -torch.inf, device=device)
        self._scores[:, 0] = 0.0
        self.found: list[list[Written]] = [[] for _ in range(count)]

    @property
    def growing(self) -> bool:
        """Whether a text has fewer endings than beams."""
        return any(len(found) < self._beams for found in self.found) and bool(self._scores.isfinite().any())

    def step(self, odds: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From log-probabilities (B W, V + 1) behind ids (B W, t): the rows that go on (B W,), and their ids."""
        count, beams = self._scores.shape
        scores = (self._scores.unsqueeze(2) + odds.view(count, beams, -1)).flatten(1)
        likeliest = scores.topk(2 * beams)
        source, token = likeliest.indices // odds.shape[1], likeliest.indices % odds.shape[1]
        ends = token == self._end
        self._finish(likeliest.values, source, ends & (torch.arange(2 * beams, device=ids.device) < beams), ids)
        going = likeliest.values.masked_fill(ends, -torch.inf).topk(beams)
        self._scores = going.values
        rows = (torch.arange(count, device=ids.device).unsqueeze(1) * beams + source.gather(1, going.indices)).flatten()
        # a beginning without continuation is of no use, and its end is no token
        tokens = token.gather(1, going.indices).view(-1, 1).clamp(max=self._end - 1)
        return rows, torch.cat([ids[rows], tokens], 1)

    def _finish(self, scores: torch.Tensor, source: torch.Tensor, ends: torch.Tensor, ids: torch.Tensor) -> None:
        beams = self._beams
        for i, at in (ends & scores.isfinite()).nonzero().tolist() if ids.shape[1] else []:
            if len(self.found[i]) < beams:
                tokens = tuple(ids[i * beams + int(source[i, at])].tolist())
                self.found[i].append(Written(tokens, float(scores[i, at]) / (len(tokens) + 1)))
        for found in self.found:
            found.sort(key=lambda one: -one.likelihood)


def neighbours(places: int) -> torch.Tensor:
    """(places, K): each place takes from the slots next to it, spread evenly over the places."""
    at = torch.linspace(0, SLOTS - 1, places)
    lower = at.floor().long().clamp(max=SLOTS - 2)
    share = (at - lower).unsqueeze(1)
    return (1 - share) * one_hot(lower, SLOTS) + share * one_hot(lower + 1, SLOTS)


def stored_readings(learned: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The linear readings within a decoder's state."""
    places = torch.cat([learned["direct.weight"].T, learned["direct.bias"].unsqueeze(0)])
    return {BAG: learned["bag"], PLACES: places}


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T) padded on the right with 0, and which of them stand."""
    width = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[i, : len(row)] = True
    return ids, mask
