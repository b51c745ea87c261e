"""Names of differences by the angles between them, which neither one rotation nor a factor for each sample changes.

A beam search names a few reference samples one after the other; the others are then named by their angles to the
references, and all is aligned. Of several draws of references the one that explains the directions best is kept; among
equals, the one after which the factors vary least, since a wrong name shows as a factor that follows the backbone.

Shapes: N samples, R rows of the candidates' book, D values, E values as they came, r references, B beams.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
from torch.nn.functional import normalize, one_hot

from .alignment import Alignment, aimed, decoded, rotation
from .candidates import Candidates

TINY = 1e-30
ANSWERS = 2
"""Ends of a beam search that are tried: more than one where names may be exchanged."""


class Beam(NamedTuple):
    """How widely names of references are searched for."""

    references: int = 16
    beams: int = 1024
    starts: int = 3
    """Draws of references."""


def by_angles(received: torch.Tensor, candidates: Candidates, beam: Beam, generator: torch.Generator) -> Alignment:
    """The rotation behind differences (N, E) that each have a factor of their own, and the labels that go with it."""
    found = []
    for _ in range(beam.starts):
        drawn = torch.randperm(len(received), generator=generator)[: beam.references]
        for names in _searched(normalize(received[drawn], dim=1), candidates.of(drawn), beam.beams)[:ANSWERS]:
            start = _by_references(received, candidates, drawn, names)
            found.append(aimed(received, candidates, start, rotation))
    return min(found, key=lambda one: _cost(one, received, candidates))


def _searched(directions: torch.Tensor, candidates: Candidates, beams: int) -> torch.Tensor:
    """Rows of the book for r references, best first (B, r), by squared errors of all pairs' cosines."""
    count, rows = len(directions), len(candidates.book)
    expected = normalize(candidates.height * candidates.book - candidates.shares.unsqueeze(1), dim=2)
    names = torch.zeros(1, 0, dtype=torch.int64)
    costs = torch.zeros(1, dtype=torch.float64)
    for new in range(count):
        grown = costs.unsqueeze(1).expand(-1, rows).clone()
        for old in range(new):
            cosines = expected[old] @ expected[new].T  # (rows of old, rows of new)
            grown += (cosines[names[:, old]] - directions[old] @ directions[new]).square()
        kept = grown.flatten().argsort(stable=True)[:beams]
        names = torch.cat([names[kept // rows], (kept % rows).unsqueeze(1)], 1)
        costs = grown.flatten()[kept]
    return names


def _by_references(
    received: torch.Tensor, candidates: Candidates, drawn: torch.Tensor, names: torch.Tensor
) -> torch.Tensor:
    """Probabilities (N, R) of the candidates from the angles to references with known names (r,)."""
    measured = normalize(received, dim=1) @ normalize(received[drawn], dim=1).T
    known = normalize(candidates.of(drawn).expected(one_hot(names, len(candidates.book)).double()), dim=1)
    lengths = candidates.squares().clamp(min=TINY).sqrt()
    errors = torch.zeros_like(lengths)
    for i in range(len(drawn)):
        errors += (candidates.dots(known[i].expand(len(received), -1)) / lengths - measured[:, i : i + 1]).square()
    return decoded(errors, len(drawn))


def _cost(found: Alignment, received: torch.Tensor, candidates: Candidates) -> float:
    """The criterion of the directions and, as far as it is equal, of the logarithms of the scales."""
    lengths = (found.weights * candidates.squares()).sum(1).clamp(min=TINY)
    spread = (received.square().sum(1).clamp(min=TINY) / lengths).log().var(correction=0)
    return found.criterion + len(received) * log(max(float(spread), TINY))
