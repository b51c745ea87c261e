"""The first attention, taken apart: what it reads of each token at each place, and what its block makes of its output.

Before the first block a token's state depends on the token and its place alone, so that queries, keys and values do
too: they can be listed for the whole vocabulary. A block turns what the attention puts out at a position into the
position's state without looking at any other position; that is inverted numerically.

Shapes: B rows, n places, H heads, D width of a head, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ....system.backbone import Stop, Tokens, load_backbone, record_blocks, run
from ....system.clipping import clipped
from ....system.errors import UsageError

NAME = "sidelight-first-attention"
KNOWN = "give a backbone whose attention is a softmax of scaled products alone"
TOKENS = 4096
"""Tokens at a place that are run at a time."""
ITERATIONS = 40
PROMISING = (12, 1e6)
"""After so many iterations an inversion with a larger error is given up: hardly one of them ends."""
DAMPED = 8
"""Dampings that are tried in one iteration."""
LEAST_DAMPING = 1e-14
STILL = 1e-3
"""An inversion ends where a step lowers its cost by a smaller share."""


class Heads(NamedTuple):
    """What the first attention reads of tokens; each (B, H, n, D), the values of shared heads repeated."""

    queries: torch.Tensor
    """Scaled, so that scores are products with keys."""
    keys: torch.Tensor
    values: torch.Tensor


class Received(NamedTuple):
    """A state behind the block, with the variance of its noise."""

    state: torch.Tensor
    """(d,)"""
    variance: float


class Usual(NamedTuple):
    """What the attention usually puts out."""

    mean: torch.Tensor
    """(H D,)"""
    precision: torch.Tensor
    """(H D, H D), the inverse of the covariance"""

    def surprise(self, mixed: torch.Tensor) -> float:
        """Squared distance from the mean in standard deviations."""
        away = mixed - self.mean
        return float(away @ self.precision @ away)


class Inverse(NamedTuple):
    """What an attention put out."""

    mixed: torch.Tensor
    """(H D,)"""
    left: torch.Tensor
    """(d,): of the state that was received, what this does not explain"""
    slope: torch.Tensor
    """(d, H D): how the state changes with it there"""
    error: float
    """Mean square of what is left, in units of the noise."""


class FirstAttention:
    """The first block of a public backbone, in double precision; behind it states may be clipped to a length."""

    def __init__(self, reference: str, clip: float = 0.0) -> None:
        self._clip = clip
        backbone = load_backbone(reference)
        del backbone.blocks[1:]
        backbone.model.double().set_attn_implementation(_registered())
        self._backbone = backbone

    @torch.no_grad()
    def heads(self, tokens: torch.Tensor, places: torch.Tensor) -> Heads:
        """Of tokens (B, n) at places (B, n), whatever stands around them."""
        with _listening() as heard:
            self._run(tokens, places)
        if not heard:
            raise UsageError(f"{self._backbone.name} attends in a way of its own; {KNOWN}")
        return heard[0]

    def heads_of(self, tokens: torch.Tensor, place: int) -> Heads:
        """Of each token (C,) alone at one place: (C, H, D) each."""
        parts = []
        for part in tokens.split(TOKENS):
            heads = self.heads(part.unsqueeze(0), torch.full((1, len(part)), place))
            parts.append([one[0].transpose(0, 1) for one in heads])
        return Heads(*(torch.cat(found) for found in zip(*parts, strict=True)))

    def state(self, token: int, place: int, mixed: torch.Tensor) -> torch.Tensor:
        """States (B, d) behind the block of a token at a place where the attention puts out `mixed` (B, H D)."""
        ids = torch.full((len(mixed), 1), token)
        with record_blocks(list(self._backbone.blocks)[:1]) as taken, _listening(mixed):
            run(self._backbone.model, Tokens(ids, torch.ones_like(ids)), places=torch.full_like(ids, place))
        return clipped(taken[0][:, 0], self._clip) if self._clip else taken[0][:, 0]

    def inverted(self, token: int, place: int, received: Received, start: torch.Tensor, usual: Usual) -> Inverse:
        """What the attention most likely put out where a token's state was received, from a start (H D,).

        Levenberg-Marquardt. What is usually put out counts as a second measurement; it matters where states are noisy.
        """

        def at(mixed: torch.Tensor) -> _Point:
            left = received.state - self.state(token, place, mixed.unsqueeze(0))[0]
            return _Point(mixed, left, float(left.square().sum() / received.variance) + usual.surprise(mixed))

        point, damping = at(start.double()), 1e-2
        for iteration in range(ITERATIONS):
            error = float(point.left.square().mean() / received.variance)
            if iteration >= PROMISING[0] and error > PROMISING[1]:
                break
            slope, before = self._slope(token, place, point.mixed), point.cost
            point, damping = _stepped(point, at, slope, received, usual, damping)
            if point.cost > (1 - STILL) * before:
                break
        error = float(point.left.square().mean() / received.variance)
        return Inverse(point.mixed, point.left, self._slope(token, place, point.mixed), error)

    def _slope(self, token: int, place: int, mixed: torch.Tensor) -> torch.Tensor:
        """How the state changes with what the attention puts out: (d, H D)."""
        with torch.enable_grad():
            tried = mixed.detach().unsqueeze(0).requires_grad_()
            made = self.state(token, place, tried)[0]
            (slope,) = torch.autograd.grad(made, tried, torch.eye(len(made), dtype=made.dtype), is_grads_batched=True)
        return slope[:, 0]

    def _run(self, tokens: torch.Tensor, places: torch.Tensor) -> None:
        with record_blocks(list(self._backbone.blocks)[:1]):
            run(self._backbone.model, Tokens(tokens, torch.ones_like(tokens)), places=places)


class _Point(NamedTuple):
    """Where an inversion stands."""

    mixed: torch.Tensor
    left: torch.Tensor
    cost: float


def _stepped(
    point: _Point,
    at: Callable[[torch.Tensor], _Point],
    slope: torch.Tensor,
    received: Received,
    usual: Usual,
    damping: float,
) -> tuple[_Point, float]:
    """The first nearer point of those that are ever more damped, with the next damping; else the same."""
    curvature = slope.T @ slope / received.variance
    pull = slope.T @ point.left / received.variance - usual.precision @ (point.mixed - usual.mean)
    ridge = curvature.diagonal().mean() * torch.eye(len(pull), dtype=pull.dtype)
    for _ in range(DAMPED):
        tried = at(point.mixed + torch.linalg.solve(curvature + usual.precision + damping * ridge, pull))
        if tried.cost < point.cost:
            return tried, max(damping / 5, LEAST_DAMPING)
        damping *= 4
    return point, damping


# --- listening to transformers' attention -----------------------------------------------------------------------

_HEARD: list[Heads] = []
_SAID: list[torch.Tensor] = []


@contextmanager
def _listening(instead: torch.Tensor | None = None) -> Iterator[list[Heads]]:
    """Collects what the next attention reads; `instead` (B, H D) is put out in its place."""
    _HEARD.clear()
    _SAID[:] = [] if instead is None else [instead]
    try:
        yield _HEARD
    finally:
        _SAID.clear()


def _registered() -> str:
    ALL_ATTENTION_FUNCTIONS.register(NAME, _attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    return NAME


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    **named: Any,
) -> tuple[torch.Tensor, None]:
    if _SAID:
        rows, heads, places, width = query.shape
        return _SAID[0].view(rows, places, heads, width), None
    shared = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    _HEARD.append(Heads(query * scale, key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)))
    raise Stop
