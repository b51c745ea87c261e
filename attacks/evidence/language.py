"""What the backbone's own language model expects people to write.

Shapes: B texts, n tokens of a text, V vocabulary.
"""

from __future__ import annotations

from math import log

import torch

from ...system.backbone import Backbone

TOPICS = 0.3
"""Share of tokens that are taken to be drawn from a text's topics."""


class Language:
    """Log-likelihoods of tokens behind the opening ones; without opening tokens any first token is as likely."""

    def __init__(self, backbone: Backbone, topics: torch.Tensor | None = None) -> None:
        """`topics` (V,): log-likelihoods of the text's tokens wherever they stand, where something is known of them."""
        self._backbone, self._topics = backbone, topics

    @torch.no_grad()
    def following(self, texts: torch.Tensor) -> torch.Tensor:
        """Of the token behind each text (B, n): (B, V)."""
        return self._mixed(self._logits(texts)[:, -1].log_softmax(1))

    @torch.no_grad()
    def places(self, texts: torch.Tensor) -> torch.Tensor:
        """Of the token at each place of each text (B, n), by the tokens before it: (B, n, V)."""
        return self._mixed(self._logits(texts)[:, :-1].log_softmax(2))

    def _mixed(self, expected: torch.Tensor) -> torch.Tensor:
        if self._topics is None:
            return expected
        return torch.logaddexp(expected + log(1 - TOPICS), self._topics + log(TOPICS))

    def _logits(self, texts: torch.Tensor) -> torch.Tensor:
        """(B, n + 1, V)."""
        opening = torch.tensor(self._backbone.prefix, dtype=torch.int64).expand(len(texts), -1)
        ids = torch.cat([opening, texts], 1)
        anything = torch.zeros(len(texts), 1, self._backbone.vocabulary)
        if not ids.shape[1]:
            return anything
        found = self._backbone.model(input_ids=ids).logits
        return torch.cat([anything, found], 1) if not opening.shape[1] else found[:, opening.shape[1] - 1 :]
