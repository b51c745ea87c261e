"""The first attention, taken apart: what it reads of each token at each place, and what its block makes of its output.

Before the first block a token's state depends on the token and its place alone, so that queries, keys and values do
too: they can be listed for the whole vocabulary. A block turns what the attention puts out at a position into the
position's state without looking at any other position; that is inverted numerically.

Shapes: B rows, n places, V vocabulary, H heads, D width of a head, d width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ...system.backbone import Stop, Tokens, load_backbone, record_blocks, run

NAME = "sidelight-first-attention"
TOKENS = 4096
"""Tokens at a place that are run at a time."""
ITERATIONS = 40
PROMISING = (12, 1e-4)
"""After so many iterations an inversion whose relative error is larger is given up: hardly one of them ends."""
DAMPED = 8
"""Dampings that are tried in one iteration."""
EXACT = 1e-10
"""Relative error at which an inversion has converged, in double precision."""


class Heads(NamedTuple):
    """What the first attention reads of tokens; each (B, H, n, D), the values of shared heads repeated."""

    queries: torch.Tensor
    """Scaled, so that scores are products with keys."""
    keys: torch.Tensor
    values: torch.Tensor


class Inverse(NamedTuple):
    """What an attention put out, by the states that it led to."""

    mixed: torch.Tensor
    """(B, H D)"""
    slope: torch.Tensor
    """(B, d, H D): how states change with it there"""
    error: torch.Tensor
    """(B,): relative distance of the states that it leads to"""


class FirstAttention:
    """The first block of a public backbone, in double precision."""

    def __init__(self, reference: str) -> None:
        backbone = load_backbone(reference)
        backbone.model.double().set_attn_implementation(_registered())
        self._backbone = backbone

    @torch.no_grad()
    def heads(self, tokens: torch.Tensor, places: torch.Tensor) -> Heads:
        """Of tokens (B, n) at places (B, n), whatever stands around them."""
        with _listening() as heard:
            self._run(tokens, places)
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
        return taken[0][:, 0]

    def inverted(self, token: int, place: int, states: torch.Tensor, start: torch.Tensor) -> Inverse:
        """What the attention put out where a token's states (B, d) are known, from starts (B, H D).

        Levenberg-Marquardt: directions that hardly change the state stay near the start; the slope says which they are.
        """
        states = states.double()
        mixed = start.double().clone()
        damping = torch.full((len(states),), 1e-2, dtype=torch.float64)
        left, slope = self._linear(token, place, mixed, states)
        size = states.norm(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
        for iteration in range(ITERATIONS):
            error = float((left.norm(dim=1) / size).max())
            if error <= EXACT or (iteration >= PROMISING[0] and error > PROMISING[1]):
                break
            mixed, damping, moved = self._step(token, place, mixed, states, left, slope, damping)
            if not moved:
                break
            left, slope = self._linear(token, place, mixed, states)
        return Inverse(mixed, slope, left.norm(dim=1) / size)

    def _step(
        self,
        token: int,
        place: int,
        mixed: torch.Tensor,
        states: torch.Tensor,
        left: torch.Tensor,
        slope: torch.Tensor,
        damping: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """One damped step of each row that it brings nearer; whether there was any."""
        curvature = slope.mT @ slope
        scale = curvature.diagonal(dim1=1, dim2=2).mean(1)
        pull = (slope.mT @ left.unsqueeze(2)).squeeze(2)
        waiting, mixed = torch.ones(len(mixed), dtype=torch.bool), mixed.clone()
        for _ in range(DAMPED):
            ridge = (damping * scale).view(-1, 1, 1) * torch.eye(mixed.shape[1], dtype=mixed.dtype)
            tried = mixed + torch.linalg.solve(curvature + ridge, pull)
            nearer = (states - self.state(token, place, tried).detach()).norm(dim=1) < left.norm(dim=1)
            taken = nearer & waiting
            mixed[taken] = tried[taken]
            damping = torch.where(taken, damping / 5, torch.where(waiting, damping * 4, damping)).clamp(min=1e-14)
            waiting &= ~taken
            if not waiting.any():
                break
        return mixed, damping, not bool(waiting.all())

    def _linear(
        self, token: int, place: int, mixed: torch.Tensor, states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What is left of the states (B, d), and the slope (B, d, H D)."""
        with torch.enable_grad():
            tried = mixed.detach().requires_grad_()
            made = self.state(token, place, tried)
            each = torch.eye(made.shape[1], dtype=made.dtype).unsqueeze(1).expand(-1, len(made), -1)
            (slope,) = torch.autograd.grad(made, tried, each, is_grads_batched=True)
        return states - made.detach(), slope.transpose(0, 1)

    def _run(self, tokens: torch.Tensor, places: torch.Tensor) -> None:
        with record_blocks(list(self._backbone.blocks)[:1]):
            run(self._backbone.model, Tokens(tokens, torch.ones_like(tokens)), places=places)


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
