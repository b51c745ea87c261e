"""What the first attention at a pivot sums: over all tokens of a text, w (v - o) is zero in every head.

o is what the attention puts out, found by inverting the block at the pivot; w and v are a token's weight and value at
its place, which depend on nothing else. The sum is linear in tokens, one a place, and the same texts that people may
write say which directions of it tell most.

Shapes: n places, C candidates, H heads, D width of a head, d width, M reference texts, F = d measured dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count, islice
from typing import NamedTuple

import torch

from ..states import Form, noise_of
from .first_attention import FirstAttention, Inverse, Received, Usual
from .superposition import Superposition

FLOOR = 1e-4
"""Share of the mean variance below which a direction of the state tells nothing: what linearising leaves behind."""
APART = 300.0
"""Squared length that one wrong token makes on average; the floor of the noise is 0.01 in each dimension."""
LEAST_NOISE = 1e-2
READING_RIDGE = 1e-4
STARTS = 40
"""Starts of inversions at most."""
ROUNDED = 1e-7
"""Noise of a state relative to its values: some norms round to single precision."""
ROOT = 4.0
"""Mean square in units of the noise below which an inversion has found what was put out."""
SHRINK = 1e-3
"""Share of the mean variance that is added to what is usually put out in every direction."""
SAME = 1e-4
"""Relative distance below which two inversions found the same."""


class Around(NamedTuple):
    """Tokens that stand around a text's own; the last of them, or of the text, is the pivot."""

    opening: tuple[int, ...]
    tail: tuple[int, ...]


class Listed(NamedTuple):
    """What the attention reads of candidates, (C, H, D) each."""

    keys: torch.Tensor
    values: torch.Tensor


class PivotAttention:
    """The linear systems of texts of every length, over candidate tokens (C,)."""

    def __init__(self, first: FirstAttention, candidates: torch.Tensor, form: Form) -> None:
        self.first, self.candidates, self.form = first, candidates, form
        self.listed = cache(self._listed)

    def _listed(self, place: int) -> Listed:
        """Of every candidate at a place."""
        found = self.first.heads_of(self.candidates, place)
        return Listed(found.keys.float(), found.values.float())

    def system(self, around: Around, reference: torch.Tensor) -> System:
        """Of texts as long as the reference texts, indices of candidates (M, n)."""
        return System(self, around, reference)


class System:
    """The linear system of all texts of one length before the tail."""

    def __init__(self, attention: PivotAttention, around: Around, reference: torch.Tensor) -> None:
        (opening, tail), length = around, reference.shape[1]
        self._first, self._form = attention.first, attention.form
        self._token, self._place = tail[-1], len(opening) + length + len(tail) - 1
        known = [*enumerate(opening), *enumerate(tail, len(opening) + length)]
        places, tokens = (torch.tensor([part]) for part in zip(*known, strict=True))
        heads = self._first.heads(tokens, places)
        query = heads.queries[0, :, -1]
        scores = torch.einsum("hd,hnd->hn", query, heads.keys[0])
        top = scores.amax(1)
        weights = (scores - top.unsqueeze(1)).exp()
        self._known_weight = weights.sum(1).float()
        self._known_sum = torch.einsum("hn,hnd->hd", weights, heads.values[0]).float()
        self._listed = [attention.listed(place) for place in range(len(opening), len(opening) + length)]
        scaled, highest = query.float(), top.float()
        self._weights = torch.stack([((one.keys * scaled).sum(2) - highest).exp() for one in self._listed])
        self._reference, self._places = reference, torch.arange(length)
        self._usual = self.mixed(reference).flatten(1).double()
        self._made = self._first.state(self._token, self._place, self._usual)
        self._noise = float(noise_of(self._form, self._made.float()))
        self._prior = _usual(self._usual)

    def __len__(self) -> int:
        """Places of own tokens."""
        return len(self._places)

    def mixed(self, texts: torch.Tensor) -> torch.Tensor:
        """What the attention puts out at the pivot of texts (B, n): (B, H, D)."""
        weights = self._weights[self._places, texts]
        summed = self._known_sum.expand(len(texts), -1, -1)
        for place, one in enumerate(self._listed):
            summed = summed + weights[:, place].unsqueeze(2) * one.values[texts[:, place]]
        return summed / (self._known_weight + weights.sum(1)).unsqueeze(2)

    def made(self, texts: torch.Tensor) -> torch.Tensor:
        """Pivots' states (B, d) of texts (B, n) by what is listed."""
        return self._first.state(self._token, self._place, self.mixed(texts).flatten(1).double()).float()

    def roots(self, state: torch.Tensor, generator: torch.Generator, starts: int = STARTS) -> Iterator[Inverse]:
        """Whatever the attention may have put out where the pivot's state (d,) is received; usually one.

        Around a text of another length, or another last token, there is hardly ever one.
        """
        rounded = ROUNDED**2 * float(state.double().square().mean())
        received, found = Received(state.double(), self._noise + rounded), list[torch.Tensor]()
        for start in islice(self._starts(received.state, generator), starts):
            inverse = self._first.inverted(self._token, self._place, received, start, self._prior)
            if inverse.error > ROOT:
                continue
            if all(float((inverse.mixed - one).norm() / one.norm()) > SAME for one in found):
                found.append(inverse.mixed)
                yield inverse

    def _starts(self, state: torch.Tensor, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """A reading, the mean, and readings moved the way that reference texts differ: each (H D,)."""
        reading, middle = self._reading(state), self._usual.mean(0)
        yield reading
        yield middle
        for number in count():
            drawn = self._usual[int(torch.randint(len(self._usual), (), generator=generator))]
            yield reading + (0.25, 0.5, 1.0)[number % 3] * (drawn - middle)

    def _reading(self, state: torch.Tensor) -> torch.Tensor:
        """What was put out, read off the state (d,) by least squares over the reference texts."""
        middle, wanted = self._made.mean(0), self._usual.mean(0)
        rows = self._made - middle
        ridge = READING_RIDGE * rows.square().sum(0).mean() * torch.eye(rows.shape[1], dtype=rows.dtype)
        weights = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ (self._usual - wanted))
        found: torch.Tensor = wanted + (state - middle) @ weights
        return found

    def superposition(self, inverse: Inverse) -> Superposition:
        """The sum that gives what the attention put out, in the directions that the state shows, whitened."""
        mixed, slope = inverse.mixed.float(), inverse.slope.float()
        spread = (self._usual.float() - mixed) @ slope.T
        spread = spread - spread.mean(0)
        variances, directions = torch.linalg.eigh(spread.T @ spread / len(spread))
        noise = self._noise
        total = variances.clamp(min=0) + FLOOR * variances.mean() + noise
        heads, width = self._known_sum.shape
        read = ((directions * total.rsqrt()).T @ slope).view(-1, heads, width)
        weight = self._known_weight + self._weights[self._places, self._reference].sum(1).mean(0)
        read = read / weight.view(1, -1, 1)
        out = mixed.view(heads, width)
        parts = zip(self._weights, self._listed, strict=True)
        effects = torch.stack(
            [(w.unsqueeze(2) * (one.values - out)).flatten(1) @ read.flatten(1).T for w, one in parts]
        )
        usual = effects[self._places, self._reference]
        scale = (APART / (usual - usual.mean(0)).square().sum(2).mean()).sqrt()
        known = torch.einsum("fhd,hd->f", read, self._known_sum - self._known_weight.unsqueeze(1) * out)
        left = (directions * total.rsqrt()).T @ inverse.left.float()
        return Superposition(effects.mul_(scale), (left - known) * scale, scale.square() * noise / total + LEAST_NOISE)


def _usual(rows: torch.Tensor) -> Usual:
    """From rows (M, H D)."""
    mean = rows.mean(0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    covariance += SHRINK * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=rows.dtype)
    return Usual(mean, torch.linalg.inv(covariance))
