"""A tuned language model: what it says of the next token, of a text, and of which class a text is.

The next token's distribution is the backbone's plus the side network's output, which may be negative: it is cut below
at a share of the backbone's probability, and made to sum to one.

A text is classified by how likely its class's words are behind it and the prompt. They end with a full stop, so that no
class's words begin another's.

Shapes: B texts, P positions end to end, L layers, d width, V vocabulary, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from transformers import DynamicCache

from .backbone import Backbone, Tokens
from .fusion import pack_positions
from .heads import words
from .side_network import SideNetwork

LEAST = 0.1
"""Share of the backbone's probability that every token keeps."""
ROWS = 512
"""Positions whose distributions (ROWS, V) are computed at once."""


Chances = Callable[[torch.Tensor], torch.Tensor]
"""From states (P, L, d) to next-token probabilities (P, V)."""


class Quality(NamedTuple):
    """How well a model predicts the tokens of held-out texts."""

    perplexity: float
    accuracy: float
    """Share of tokens that were the likeliest."""
    tokens: int


class Loss(NamedTuple):
    """The positions of some texts whose next token is there, end to end."""

    states: torch.Tensor
    """(P, L, d)"""
    targets: torch.Tensor
    """(P,) int64, the tokens behind them"""
    lengths: torch.Tensor
    """(B,) int64"""


def completion(label: str) -> str:
    """What follows a text and the prompt: the class's words."""
    return f" {words(label)}."


def trained_tokens(backbone: Backbone, text: str, longest: int, prompt: str, label: str | None) -> list[int]:
    """The tokens of one training text; with a label, the prompt and its words follow."""
    tokens = [*backbone.prefix, *backbone.token_ids(text, longest)]
    if label is None:
        return tokens
    return [*tokens, *backbone.token_ids(prompt), *backbone.token_ids(completion(label))]


def loss_positions(backbone: Backbone, tokens: Tokens) -> Loss:
    """All positions but each text's last."""
    before = Tokens(tokens.ids[:, :-1], tokens.mask[:, 1:])
    states, lengths = pack_positions(backbone.activations(tokens)[:, :-1], before)
    return Loss(states, tokens.ids[:, 1:][before.mask.bool()], lengths)


def chances(backbone: Backbone, states: torch.Tensor) -> torch.Tensor:
    """The backbone's next-token probabilities (P, V) from states (P, L, d)."""
    found: torch.Tensor = (backbone.final_norm(states[:, -1]) @ backbone.output_matrix().T).softmax(1)
    return found


def tuned_chances(backbone: Backbone, side: SideNetwork, states: torch.Tensor) -> torch.Tensor:
    """The tuned model's."""
    own = chances(backbone, states)
    found = torch.maximum(own + side(states), LEAST * own)
    return found / found.sum(1, keepdim=True)


@torch.no_grad()
def quality(backbone: Backbone, model: Chances, texts: Sequence[str], longest: int) -> Quality:
    """Of a model upon the backbone on texts' own tokens, each text by itself."""
    nats, right, count = 0.0, 0, 0
    for at in range(0, len(texts), 16):
        loss = loss_positions(backbone, backbone.tokens(texts[at : at + 16], longest))
        for states, targets in zip(loss.states.split(ROWS), loss.targets.split(ROWS), strict=True):
            found = model(states)
            nats -= float(found.gather(1, targets.unsqueeze(1)).clamp_min(1e-30).log().double().sum())
            right += int((found.argmax(1) == targets).sum())
            count += len(targets)
    return Quality(math.exp(nats / max(count, 1)), right / max(count, 1), count)


@torch.no_grad()
def class_likelihoods(
    backbone: Backbone, side: SideNetwork, texts: Sequence[str], longest: int, prompt: str, labels: Sequence[str]
) -> torch.Tensor:
    """Log-likelihood (B, K) of every class's words behind each text and the prompt."""
    tail, ends = backbone.token_ids(prompt), [backbone.token_ids(completion(label)) for label in labels]
    rows = [[*backbone.prefix, *backbone.token_ids(text, longest), *tail] for text in texts]
    model = partial(tuned_chances, backbone, side)
    return torch.stack([_likelihoods(backbone, model, row, ends) for row in rows])


def _likelihoods(backbone: Backbone, model: Chances, opening: list[int], ends: Sequence[list[int]]) -> torch.Tensor:
    """Log-likelihood (K,) of continuations of one opening, which is run once."""
    cache, before = DynamicCache(), backbone.pad([opening])
    last = backbone.activations(before, cache=cache)[:, -1:]
    cache.batch_repeat_interleave(len(ends))
    after = backbone.pad(ends)
    mask = torch.cat([before.mask.expand(len(ends), -1), after.mask], dim=1)
    states = torch.cat(
        [last.expand(len(ends), -1, -1, -1), backbone.activations(Tokens(after.ids, mask), cache=cache)], dim=1
    )
    told = model(states[:, :-1][after.mask.bool()])
    found = told.gather(1, after.ids[after.mask.bool()].unsqueeze(1)).squeeze(1).clamp_min(1e-30).log()
    return torch.stack([part.sum() for part in found.split([len(end) for end in ends])])
