"""A mean over positions as a sum: what each token adds to it at its place, other tokens aside.

It is only about so: of what a token adds, much is how others read it. What the sum leaves unexplained of reference
texts is taken as noise, and says which directions of the states are worth how much.

Shapes: n places, C candidates, M texts, F features (all states of the first layers that crossed), T tokens of a text
with all that stands around it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch

from ....system.backbone import Backbone
from ..states import Form, noise_of
from ..token_states import states_of_tokens
from .superposition import Superposition

STRIDE = 4
"""Places from one replaced token of a reference text to the next: the others give it a usual surrounding."""
TEXTS, NOISY = 1500, 256
"""Reference texts that the sum is compared with, in all, and of one length."""
REPLACED = 0.15
"""Share of their tokens that are replaced by others: guesses are not what people write either."""
FLOOR = 1e-4
"""Share of the mean variance that every direction has at least."""
ROUNDED = 1e-10
"""Of the mean square of states, what single precision makes of it in a sum that explains all."""
LEAST_NOISE = 1e-3
"""Of a sum that leaves nothing unexplained: of texts of one token."""
FEATURES = 512
"""Directions at most: those in which candidates differ most against what is unexplained."""
CHUNK = 256


class Table:
    """The states of every candidate at its own place, in usual surroundings."""

    def __init__(
        self,
        backbone: Backbone,
        layers: Sequence[int],
        candidates: torch.Tensor,
        texts: torch.Tensor,
        generator: torch.Generator,
    ) -> None:
        """From candidate tokens (C,) and reference texts (M, longest), as indices of candidates."""
        self.backbone, self.layers, self.texts = backbone, layers, texts
        longest = texts.shape[1]
        self.candidates = candidates
        self.own = torch.empty(longest, len(candidates), len(layers) * backbone.width)
        for first in range(min(STRIDE, longest)):
            self._listen(torch.arange(first, longest, STRIDE), generator)

    def _listen(self, places: torch.Tensor, generator: torch.Generator) -> None:
        """Every candidate stands once at each place."""
        count, opening = len(self.candidates), len(self.backbone.prefix)
        order = torch.stack([torch.randperm(count, generator=generator) for _ in places], 1)
        texts = self.texts[torch.randint(len(self.texts), (count,), generator=generator)]
        texts = texts.scatter(1, places.expand(count, -1), order)
        for rows, placed in zip(texts.split(CHUNK), order.split(CHUNK), strict=True):
            tokens = self.backbone.pad([[*self.backbone.prefix, *row] for row in self.candidates[rows].tolist()])
            states = self.backbone.activations(tokens, max(self.layers))[:, :, [one - 1 for one in self.layers]]
            self.own[places, placed] = states[:, places + opening].flatten(2)


class Compared(NamedTuple):
    """What sums leave unexplained."""

    left: torch.Tensor
    """(M, F) about its mean"""
    middle: torch.Tensor
    """(F,)"""
    noise: float
    """Variance that noise and rounding add to a value."""


class Scale:
    """Directions of pooled states, whitened by what a sum of tokens leaves unexplained of texts of usual lengths."""

    def __init__(self, table: Table, form: Form, lengths: Sequence[int], generator: torch.Generator) -> None:
        """From lengths of reference texts, each as often as it is usual."""
        self.table, self.form, self._generator = table, form, generator
        self.tokens = 0
        """Own tokens of all texts that were run."""
        counts = Counter(lengths)
        shares = {length: max(1, TEXTS * count // len(lengths)) for length, count in counts.items()}
        rows = torch.cat([self.compared(length, share).left for length, share in shares.items()])
        self.noise = self.compared(max(counts), NOISY).noise
        variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
        rounded = ROUNDED * float(table.own.square().mean())
        total = variances.clamp(min=0) + FLOOR * variances.mean() + self.noise + rounded
        self.whitener = _telling(table.own, directions * total.rsqrt())
        self.rounding = self.noise * float(self.whitener.square().sum())
        """Squared distance that noise and rounding put between what is received and the right text."""

    def of(self, texts: torch.Tensor) -> torch.Tensor:
        """Features (M, F) of what texts (M, n) would send."""
        self.tokens += texts.numel()
        found: torch.Tensor = self._states(texts) @ self.whitener
        return found

    def compared(self, length: int, count: int) -> Compared:
        """The sum beside what reference texts of a length would send."""
        texts = self.table.texts[torch.randint(len(self.table.texts), (count,), generator=self._generator), :length]
        other = torch.rand(texts.shape, generator=self._generator) < REPLACED
        tokens = torch.randint(len(self.table.candidates), texts.shape, generator=self._generator)
        texts = texts.where(~other, tokens)
        made, share = self._states(texts), self.share(length)
        noise = float(noise_of(self.form, made))
        for place in range(length):
            made = made - share * self.table.own[place, texts[:, place]]
        middle = made.mean(0)
        return Compared(made - middle, middle, noise)

    def share(self, length: int) -> float:
        """Of one position in the mean."""
        backbone, prompt = self.table.backbone, self.form.prompt
        return 1 / (len(backbone.prefix) + length + len(backbone.token_ids(prompt)))

    def _states(self, texts: torch.Tensor) -> torch.Tensor:
        table, exact = self.table, self.form._replace(precision="fp32")
        rows = table.candidates[texts].tolist()
        return states_of_tokens(table.backbone, rows, exact, table.layers).flatten(1)


class Pooled:
    """The sum of texts of one length, on a scale."""

    def __init__(self, scale: Scale, length: int) -> None:
        self.scale = scale
        compared = scale.compared(length, NOISY)
        self._middle = compared.middle @ scale.whitener
        self._noise = (compared.left @ scale.whitener).square().mean().clamp(min=LEAST_NOISE)
        self.effects = scale.share(length) * scale.table.own[:length] @ scale.whitener

    def sum_to(self, received: torch.Tensor) -> Superposition:
        """What adds up to received features (F,)."""
        return Superposition(self.effects, received - self._middle, self._noise.expand(len(received)))


def _telling(own: torch.Tensor, whitener: torch.Tensor) -> torch.Tensor:
    """Of whitened directions (F, F) the ones in which candidates' own states (n, C, F) differ most: (F, k)."""
    if whitener.shape[1] <= FEATURES:
        return whitener
    apart = sum((rows - rows.mean(0)).T @ (rows - rows.mean(0)) for rows in own)
    found: torch.Tensor = whitener @ torch.linalg.eigh(whitener.T @ apart @ whitener).eigenvectors[:, -FEATURES:]
    return found
