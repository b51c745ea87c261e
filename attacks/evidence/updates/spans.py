"""Spans: which inputs of a linear map the change of its weights shows, and how far another vector lies from them.

The gradient of W (m, n) is a sum of outer products of gradients and inputs, so that the rows of a change of W by plain
gradient descent lie in the span of the inputs. Of a low-rank update B A, the rows of A's change lie in the span of the
inputs too, and those of B's change in the span of what A makes of them.
Source: DAGER, arXiv 2405.15586, by its code's README and summaries. The cut at the noise of storage: ours.

Shapes: m outputs, n inputs, r rank of a low-rank update, s rows of a change, k dimensions of a span, N vectors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

MARGIN = 1.5
"""By how much a direction of a change must stand above the noise; one of noise alone that is let in costs little."""
ARITHMETIC = 1e-7
"""Noise of a gradient's own arithmetic in single precision, over the largest direction."""


class Span(NamedTuple):
    """What a change shows of a map's inputs."""

    basis: torch.Tensor
    """(n, k) or, behind a map, (r, k): orthonormal columns"""
    behind: torch.Tensor | None = None
    """(r, n): the map that the inputs passed first; None for none"""

    @property
    def dimensions(self) -> int:
        return self.basis.shape[1]

    def distance(self, vectors: torch.Tensor) -> torch.Tensor:
        """Of vectors (N, n) the share of their norm that lies outside the span: (N,), from 0 to 1."""
        seen = vectors if self.behind is None else vectors @ self.behind.T
        whole, inside = seen.square().sum(1), (seen @ self.basis).square().sum(1)
        # by Pythagoras: exact to about 1e-3 in single precision, far below any tolerance
        return (1 - inside / whole.clamp_min(1e-24)).clamp_min(0).sqrt()


def rows_span(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> Span | None:
    """The span of the rows of some changes, each (s, n); None where it is empty or may not hold every input.

    With as many dimensions as rows, or as columns, nothing says that no input lies outside.
    """
    changes = torch.cat([new.double() - old.double() for old, new in zip(before, after, strict=True)])
    noise = max(_noise(new, changes.shape) for new in after)
    _, sizes, directions = torch.linalg.svd(changes, full_matrices=False)
    dimensions = int((sizes > MARGIN * (noise + ARITHMETIC * sizes[0])).sum())
    if not 0 < dimensions < min(changes.shape):
        return None
    return Span(directions[:dimensions].T.float())


def _noise(stored: torch.Tensor, shape: torch.Size) -> float:
    """The largest singular value that rounding to single precision gives a matrix of a shape."""
    step = torch.finfo(torch.float32).eps * torch.exp2(stored.double().abs().clamp_min(1e-30).log2().floor())
    spread = float(step.square().mean()) / 12  # of a value that was rounded, its variance
    return math.sqrt(spread) * (math.sqrt(shape[0]) + math.sqrt(shape[1]))
