"""Reads tokens off the states of all positions after a cut, whatever the private bottom has become meanwhile.

States with their correlations undone go through two Transformer layers that see all positions of a text, and are
compared with the public input embeddings. It learns on made texts, each batch run through another shadow bottom.

Memory: ENTRIES log-odds at a time, three or four times over; all else is small beside the backbone.

Shapes: B texts, T positions, F features, d width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from ....system.backbone import Backbone, Tokens
from ..token_states import uncorrelated

LAYERS, HEADS = 2, 4
WIDTH = 192
ENTRIES = 2**23
LARGEST = 8.0
READER = "reader/"


class Reader(nn.Module):
    """Log-odds of the token at every position, from the states of all."""

    def __init__(self, backbone: Backbone, whitened: Mapping[str, torch.Tensor], generator: torch.Generator) -> None:
        super().__init__()
        self.middle, self.whitener = (nn.Parameter(whitened[name], False) for name in ("middle", "whitener"))
        table = backbone.model.get_input_embeddings().weight.detach()
        self._table = table - table.mean(0)
        self._table = self._table / self._table.std()
        self.enter = nn.Linear(self.whitener.shape[1], WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        self.mixer = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.direct = nn.Linear(self.whitener.shape[1], self._table.shape[1])
        self.leave = nn.Linear(WIDTH, self._table.shape[1])
        self.bias = nn.Parameter(torch.zeros(len(self._table)))
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2 and parameter.requires_grad:
                spread = parameter.shape[1] ** -0.5 * (0.1 if name.startswith(("direct", "leave")) else 1.0)
                parameter.data = spread * torch.randn(parameter.shape, generator=generator)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, d) states to vectors (B, T, d) that are compared with embeddings."""
        features = ((states - self.middle) @ self.whitener).clamp(-LARGEST, LARGEST)
        mixed = self.mixer(self.enter(features) + _places(features.shape[1]), src_key_padding_mask=~mask.bool())
        found: torch.Tensor = self.direct(features) + self.leave(mixed)
        return found

    def odds(self, vectors: torch.Tensor) -> torch.Tensor:
        """Log-odds (..., V)."""
        found: torch.Tensor = vectors @ self._table.T + self.bias
        return found

    def loss(self, states: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        """Mean nats of a token, over as many positions as fit into memory."""
        mask = tokens.mask.bool()
        vectors, goals = self(states, mask)[mask], tokens.ids[mask]
        most = max(1, ENTRIES // len(self._table))
        return cross_entropy(self.odds(vectors[:most]), goals[:most])

    @torch.no_grad()
    def likely(self, states: Sequence[torch.Tensor], count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of each text's states (T, d) the likeliest tokens (T, C) of every position, and their log-probabilities."""
        found = []
        rows = pad_sequence(list(states), batch_first=True)
        lengths = torch.tensor([len(part) for part in states])
        vectors = self(rows, torch.arange(rows.shape[1]) < lengths.unsqueeze(1))
        for row, length in zip(vectors, lengths.tolist(), strict=True):
            best = self.odds(row[:length]).log_softmax(1).topk(min(count, len(self._table)))
            found.append((best.indices, best.values))
        return found


def new_reader(backbone: Backbone, states: torch.Tensor, generator: torch.Generator) -> Reader:
    """A reader that has learnt nothing yet but how states (N, d) vary."""
    with torch.random.fork_rng(devices=[]):  # torch draws weights of its own, which are replaced
        return Reader(backbone, uncorrelated(states), generator)


def stored_reader(backbone: Backbone, prepared: Mapping[str, torch.Tensor]) -> Reader:
    """The reader that was prepared."""
    learned = {name.removeprefix(READER): t for name, t in prepared.items() if name.startswith(READER)}
    with torch.random.fork_rng(devices=[]):
        reader = Reader(backbone, learned, torch.Generator())
    reader.load_state_dict(learned)
    return reader


def _places(count: int) -> torch.Tensor:
    """(T, WIDTH) sines and cosines (arXiv 1706.03762, section 3.5)."""
    rates = 10_000 ** -(torch.arange(0, WIDTH, 2) / WIDTH)
    angles = torch.arange(count).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], 1)
