"""What is unknown about the lengths of differences, and starts for fitting it.

    |received|^2 = gain^2 * |x_y(height)|^2 + offset

Every sample has one right label, so trying all labels of a few samples yields starts with the right values among them,
without a grid (Fischler and Bolles 1981).

Shapes: N samples, R rows of the candidates' book, H hypotheses.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from .candidates import Candidates

TINY = 1e-30
EXACT = 1e-7
"""Relative error of single precision."""
REFERENCES = 8
"""Samples all of whose labels are tried; one without a right candidate must not spoil all starts."""
PAIRS = 100_000
"""Hypotheses from pairs of samples, at most."""
CLOSEST = 256
"""Those of them that are compared at all."""
HEED = 0.5
"""Share of labels that are taken to be as the backbone predicts."""
BLOCK = 2_000_000
"""Values of a tensor over hypotheses, samples and rows: bounds the memory."""


class Unknowns(NamedTuple):
    """Hypotheses of what is not known, each field (H,)."""

    gain: torch.Tensor
    """log gain^2"""
    height: torch.Tensor
    offset: torch.Tensor
    free: torch.Tensor
    """(H, 3) bool: which of the three were fitted."""

    def of(self, index: torch.Tensor) -> Unknowns:
        return Unknowns(*(field[index] for field in self))


class Data(NamedTuple):
    """Squared lengths (N,) as they came, with their candidates."""

    squares: torch.Tensor
    candidates: Candidates

    def of(self, samples: torch.Tensor) -> Data:
        return Data(self.squares[samples], self.candidates.of(samples))

    def expectation(self) -> torch.Tensor:
        """Log probability (N, R) of each row before lengths are looked at."""
        rows = len(self.candidates.book)
        uniform = torch.full((len(self.squares), rows), 1 / rows, dtype=torch.float64)
        opinion = uniform if self.candidates.opinion is None else self.candidates.opinion
        return ((1 - HEED) * uniform + HEED * opinion).log()

    def first(self, count: int) -> Data:
        return self.of(torch.arange(len(self.squares))[:count])

    def last(self, count: int) -> Data:
        return self.of(torch.arange(len(self.squares))[-count:])

    def at(self, height: torch.Tensor) -> torch.Tensor:
        """|x|^2 (H, N, R) at heights (H,)."""
        c, book, shares = height.view(-1, 1, 1), self.candidates.book, self.candidates.shares
        fixed = shares.square().sum(1).view(1, -1, 1)
        return (c * c * book.square().sum(1) - 2 * c * (shares @ book.T) + fixed).clamp(min=TINY)

    def errors(self, tried: Unknowns) -> torch.Tensor:
        """log |received|^2 less its expectation (H, N, R)."""
        expected = self.at(tried.height) * tried.gain.exp().view(-1, 1, 1) + tried.offset.view(-1, 1, 1)
        return self.squares.log().view(1, -1, 1) - expected.log()


def hypotheses(data: Data, free_height: bool) -> Unknowns:
    """The public values, and each unknown, or gain and height together, from samples with all of their labels."""
    few = data.first(REFERENCES)
    height, nothing = torch.tensor([few.candidates.height], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    lengths = few.at(height)[0]
    squares = few.squares.unsqueeze(1)
    parts = [
        _tried(nothing, height, nothing),
        _tried((squares / lengths).log().flatten(), height, nothing, "gain"),
        _tried(nothing, height, (squares - lengths).clamp(min=0).flatten(), "offset"),
    ]
    if free_height:
        parts += [_heights(few), _closest(data.last(REFERENCES // 2), _pairs(data))]
    return _together(parts)


def _tried(gain: torch.Tensor, height: torch.Tensor, offset: torch.Tensor, *free: str) -> Unknowns:
    gain, height, offset = torch.broadcast_tensors(gain, height, offset)
    fitted = torch.tensor([name in free for name in ("gain", "height", "offset")])
    return Unknowns(gain, height, offset, fitted.expand(len(gain), 3))


def _together(parts: list[Unknowns]) -> Unknowns:
    return Unknowns(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


def _heights(few: Data) -> Unknowns:
    """Heights at which a candidate is as long as what came, without any gain."""
    scores = few.candidates.shares @ few.candidates.book.T
    constant = (few.candidates.shares.square().sum(1) - few.squares).unsqueeze(1)
    found = _roots(torch.ones_like(scores), -2 * scores, constant.expand_as(scores)).flatten()
    return _tried(torch.zeros(1, dtype=found.dtype), found[found > 0], torch.zeros(1, dtype=found.dtype), "height")


def _pairs(data: Data) -> Unknowns:
    """Gains and heights at which two samples' candidates are both as long as what came."""
    scores = data.candidates.shares @ data.candidates.book.T
    fixed = data.candidates.shares.square().sum(1)
    count = min(len(scores) // 2, REFERENCES, max(1, PAIRS // (2 * scores.shape[1] ** 2)))
    a, b = torch.arange(count), torch.arange(count, 2 * count)
    ratio = (data.squares[a] / data.squares[b]).view(-1, 1, 1)
    linear = -2 * (scores[a].unsqueeze(2) - ratio * scores[b].unsqueeze(1))
    constant = (fixed[a] - ratio.flatten() * fixed[b]).view(-1, 1, 1).expand_as(linear)
    height = _roots((1 - ratio).expand_as(linear), linear, constant)
    length = height**2 - 2 * height * scores[b].view(1, count, 1, -1) + fixed[b].view(1, -1, 1, 1)
    gain = data.squares[b].log().view(1, -1, 1, 1) - length.clamp(min=TINY).log()
    real = height > 0
    return _tried(gain[real], height[real], torch.zeros(1, dtype=height.dtype), "gain", "height")


def _roots(square: torch.Tensor, linear: torch.Tensor, constant: torch.Tensor) -> torch.Tensor:
    """Both roots of quadratic equations (2, ...), NaN where they are not real."""
    root = (linear.square() - 4 * square * constant).sqrt()
    return torch.stack([(-linear + root) / (2 * square), (-linear - root) / (2 * square)])


def _closest(few: Data, tried: Unknowns) -> Unknowns:
    """The hypotheses under which every sample has some candidate that fits, by the geometric mean of errors."""
    step = max(1, BLOCK // (len(few.squares) * len(few.candidates.book)))
    parts = [tried.of(torch.arange(i, min(i + step, len(tried.gain)))) for i in range(0, len(tried.gain), step)]
    if not parts:
        return tried
    score = torch.cat([few.errors(part).abs().amin(2).clamp(min=EXACT).log().sum(1) for part in parts])
    return tried.of(score.argsort(stable=True)[:CLOSEST])
