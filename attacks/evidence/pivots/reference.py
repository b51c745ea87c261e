"""Reference texts: what an attacker takes people to write, and how pivots tell a length and a last token.

Shapes: M texts, T tokens of the longest, F features, k directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ....system.backbone import Backbone
from ....system.public import Public
from ...attack import Prepared
from ..made_texts import written
from ..states import Form, form_of
from ..token_states import states_of_tokens

TEXTS = 512
A_LENGTH = 128
"""Reference texts of every length."""
LAYERS = 2
"""Of what crosses, the first layers: in them places weigh most."""
SHRINK = 1e-3
CHUNK = 256
"""Samples whose last tokens are read at a time."""


@torch.no_grad()
def reference_texts(backbone: Backbone, public: Public, generator: torch.Generator) -> torch.Tensor:
    """Tokens (M, T) of auxiliary texts joined end to end; without such texts, of what the backbone writes."""
    longest = int(public.facts["longest"])
    order = torch.randperm(len(public.auxiliary), generator=generator).tolist()
    stream = [token for i in order for token in backbone.token_ids(public.auxiliary[i].text)]
    if not stream:
        return torch.tensor(written(backbone, [()] * TEXTS, longest, generator))
    starts = torch.randint(len(stream), (TEXTS,), generator=generator).tolist()
    return torch.tensor([[stream[(start + i) % len(stream)] for i in range(longest)] for start in starts])


def usual_lengths(backbone: Backbone, public: Public) -> torch.Tensor:
    """Of the auxiliary texts that have tokens (at most M,), cut to the longest allowed; none without such texts."""
    lengths = [len(backbone.token_ids(example.text, public.facts["longest"])) for example in public.auxiliary]
    return torch.tensor(list(filter(None, lengths)), dtype=torch.int64)


def readings(
    backbone: Backbone, public: Public, texts: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """How lengths and last tokens are read off pivots, from reference texts (M, T): for `read_lengths` and `read_last`.

    `prior` (T,): logarithms of how usual each length is, none being impossible.
    """
    parts = measured(backbone, form_of(public.facts), texts, generator, public.facts["layers"])
    counts = torch.bincount(usual_lengths(backbone, public), minlength=texts.shape[1] + 1)[1:]
    return {"prior": (counts + 1.0).log(), **lengths_of(parts), **last_tokens_of(backbone, parts)}


class Measured(NamedTuple):
    """Reference texts of one length, and the first layers of their pivots."""

    texts: torch.Tensor
    """(A_LENGTH, n)"""
    pivots: torch.Tensor
    """(A_LENGTH, layers, d)"""


def measured(
    backbone: Backbone,
    form: Form,
    texts: torch.Tensor,
    generator: torch.Generator,
    layers: Sequence[int],
) -> list[Measured]:
    """Parts of texts (M, T) of every length from 1 to T; of the layers that cross, numbered from 1, the first ones."""
    kept = list(layers)[:LAYERS]
    found = []
    for length in range(1, texts.shape[1] + 1):
        drawn = texts[torch.randint(len(texts), (A_LENGTH,), generator=generator), :length]
        found.append(Measured(drawn, states_of_tokens(backbone, drawn.tolist(), form, kept, generator)))
    return found


def lengths_of(parts: Sequence[Measured]) -> dict[str, torch.Tensor]:
    """A linear discriminant of the number of tokens: `means` (T, k) of the lengths and `whitener` (F, k)."""
    rows = [part.pivots.flatten(1) for part in parts]
    middles = torch.stack([row.mean(0) for row in rows])
    spread = torch.cat([row - middle for row, middle in zip(rows, middles, strict=True)])
    values, vectors = torch.linalg.eigh(spread.T @ spread / len(spread))
    whitener = vectors * (values.clamp(min=0) + SHRINK * values.mean()).rsqrt()
    return {"means": middles @ whitener, "whitener": whitener}


def read_lengths(states: torch.Tensor, prepared: Prepared) -> torch.Tensor:
    """Lengths by likelihood and by the logarithms `prior` (T,), the best first: (N, T).

    States are (N, L, d).
    """
    apart = torch.cdist(states[:, :LAYERS].flatten(1) @ prepared["whitener"], prepared["means"])
    return (apart.square() / 2 - prepared["prior"]).argsort(1) + 1


def last_tokens_of(backbone: Backbone, parts: Sequence[Measured]) -> dict[str, torch.Tensor]:
    """A least-squares reading of the last token's embedding where no prompt follows it: `last` (d + 1, d)."""
    states = torch.cat([part.pivots[:, 0] for part in parts])
    tokens = torch.cat([part.texts[:, -1] for part in parts])
    wanted = backbone.model.get_input_embeddings().weight[tokens]
    inputs = torch.nn.functional.pad(states, (0, 1), value=1.0)
    gram = inputs.T @ inputs
    ridge = SHRINK * gram.diagonal().mean() * torch.eye(len(gram))
    return {"last": torch.linalg.solve(gram + ridge, inputs.T @ wanted)}


def read_last(backbone: Backbone, states: torch.Tensor, prepared: Prepared, count: int) -> torch.Tensor:
    """The last tokens whose embeddings are nearest, the nearest first, of states (N, L, d): (N, count)."""
    found = torch.nn.functional.pad(states[:, 0], (0, 1), value=1.0) @ prepared["last"]
    embedded: torch.Tensor = backbone.model.get_input_embeddings().weight
    parts = [torch.cdist(part, embedded).topk(count, largest=False).indices for part in found.split(CHUNK)]
    return torch.cat(parts)
