"""What a private bottom has become, estimated from texts that the attacker has recovered and the states they had.

A copy of the public bottom is moved until the recovered texts give the received states, in all weights of its maps:
nobody but the device knows which low-rank factors its updates start from. Wrong tokens are outliers among the others:
distances count, not their squares.

Shapes: B texts, T positions, C candidates, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ....system.backbone import Backbone
from ....system.partial import FULL
from .shadow_bottoms import Drifted, Recipe

SHARPNESS = 32.0
"""Nats that it costs a candidate to be e times as far: errors of an estimated bottom spread over tens of directions."""
TINY = 1e-7
"""Relative distance below which two states are the same."""
UNLIKELY = -8.0
"""Log-probability below which a reader is not trusted any further."""
FIRST = 16
"""Candidates that are tried first; all of them where the best is more than STRANGE times as far as is usual."""
STRANGE = 2.0
ROUNDING = 1e-4
"""Relative distance that rounding alone may make."""


class Recovered(NamedTuple):
    """One text's tokens, less the opening ones and the prompt, and the mean relative distance of its states."""

    tokens: tuple[int, ...]
    distance: float


class Sent(NamedTuple):
    """The states (T, d) of one text, and the likeliest tokens (T, C) with their log-probabilities."""

    states: torch.Tensor
    candidates: torch.Tensor
    likelihoods: torch.Tensor


class Tracker:
    """A bottom that is kept at where the device's is."""

    def __init__(self, backbone: Backbone, recipe: Recipe, tail: Sequence[int], rate: float) -> None:
        self._drifted, self._tail = Drifted(backbone, recipe, FULL, torch.Generator()), list(tail)
        self._optimizer = torch.optim.AdamW(self._drifted.moving, rate * recipe.rate, weight_decay=0.0)

    @torch.no_grad()
    def recovered(self, texts: Sequence[Sent]) -> list[Recovered]:
        """Every text, token by token: the candidates that are likely and whose states come near to those received."""
        backbone = self._drifted.backbone
        opening = backbone.prefix
        prefixes = [list(opening) for _ in texts]
        distances: list[list[float]] = [[] for _ in texts]
        ends = [len(text.states) - len(self._tail) for text in texts]
        for position in range(len(opening), max(ends, default=0)):
            alive = [i for i, end in enumerate(ends) if position < end]
            before = sorted(far for row in distances for far in row)
            usual = before[len(before) // 2] if before else 0.0
            found = self._best([prefixes[i] for i in alive], [texts[i] for i in alive], position, usual)
            for i, token, far in zip(alive, *found, strict=True):
                prefixes[i].append(token)
                distances[i].append(far)
        own = [tuple(prefix[len(opening) :]) for prefix in prefixes]
        return [Recovered(t, sum(d) / max(len(d), 1)) for t, d in zip(own, distances, strict=True)]

    def _best(
        self, prefixes: list[list[int]], texts: Sequence[Sent], position: int, usual: float
    ) -> tuple[list[int], list[float]]:
        """The best next token behind each prefix and its distance; more are tried where all are strangely far."""
        tokens, far = self._nearest(prefixes, texts, position, FIRST)
        again = (far > max(STRANGE * usual, ROUNDING)).nonzero().squeeze(1).tolist()
        if again:
            wider = self._nearest([prefixes[i] for i in again], [texts[i] for i in again], position, None)
            tokens[again], far[again] = wider
        return tokens.tolist(), far.tolist()

    def _nearest(
        self, prefixes: list[list[int]], texts: Sequence[Sent], position: int, count: int | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        candidates = torch.stack([text.candidates[position, :count] for text in texts])
        received = torch.stack([text.states[position] for text in texts]).unsqueeze(1)
        states = self._drifted.backbone.branches(prefixes, candidates, len(self._drifted.bottom.blocks))
        away = (states - received).norm(dim=2) / received.norm(dim=2)
        odds = torch.stack([text.likelihoods[position, :count] for text in texts]).clamp(min=UNLIKELY)
        best = (odds - SHARPNESS * (away + TINY).log()).argmax(1, keepdim=True)
        return candidates.gather(1, best).squeeze(1), away.gather(1, best).squeeze(1)

    def fit(self, texts: Sequence[tuple[tuple[int, ...], torch.Tensor]], steps: int) -> None:
        """Move the bottom towards giving texts, by their own tokens, the states (T, d) that came."""
        backbone = self._drifted.backbone
        tokens = backbone.pad([[*backbone.prefix, *own, *self._tail] for own, _ in texts])
        received = torch.cat([states for _, states in texts])
        best, state = torch.inf, [p.detach().clone() for p in self._drifted.moving]
        for _ in range(steps + 1):
            made = self._drifted.bottom(tokens)[tokens.mask.bool()]
            far = ((made - received).norm(dim=1) / received.norm(dim=1)).mean()
            if float(far.detach()) < best:
                best, state = float(far.detach()), [p.detach().clone() for p in self._drifted.moving]
            self._optimizer.zero_grad()
            far.backward()
            self._optimizer.step()
        for parameter, kept in zip(self._drifted.moving, state, strict=True):
            parameter.data = kept
