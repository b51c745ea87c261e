"""A fixed secret transform, estimated from guessed labels and improved together with them.

Given labels, the rotation that takes their candidates to what came is a Procrustes problem (Schonemann 1966), the order
of the entries an assignment problem (Kuhn 1955). Given the transform, every sample is decoded by its nearest candidate.
The two steps alternate with soft labels that harden, as in deterministic annealing, until the labels stay.

That may end with the right groups under exchanged names, since a class's own target outweighs the shares taken away.
For a given transform T the best exchange is again an assignment: with P the permutation of names, the targets fit as
before and the shares f become f P T, so that tr(P' f' (target T - x) T') is to be as large as possible.

Shapes: N samples, R rows of the candidates' book, D values of a candidate, E values as they came (D unless decoys).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import log

import torch
from scipy.optimize import linear_sum_assignment

from .candidates import Candidates

Solve = Callable[[torch.Tensor], torch.Tensor]
"""From the sum of candidate times received, (D, E), to the transform T (D, E): x came as x @ T."""
ROUNDS = 45
EXCHANGES = 20
HEATS, COOLING = (0.0, 100.0), 0.8
"""How much larger than the residual the variance starts (deterministic annealing, Rose 1998), and its decay a round."""
SAME = 1e-6
TINY = 1e-30
FLOOR = 1e-11
"""The least mean squared error, relative to the differences: below it, rounding of single precision is all there is."""


def rotation(moments: torch.Tensor) -> torch.Tensor:
    """The orthonormal T that maximises tr(T' moments), from a singular value decomposition."""
    left, _, right = torch.linalg.svd(moments, full_matrices=False)
    found: torch.Tensor = left @ right
    return found


def permutation(moments: torch.Tensor) -> torch.Tensor:
    """The T of zeros and ones, one to one, that maximises tr(T' moments)."""
    rows, columns = linear_sum_assignment(moments.numpy(), maximize=True)
    found = torch.zeros_like(moments)
    found[rows, columns] = 1.0
    return found


@dataclass(frozen=True)
class Alignment:
    """A transform with the labels that go with it."""

    transform: torch.Tensor
    """(D, E)"""
    weights: torch.Tensor
    """(N, R) probabilities of the candidates, rows sum to one."""
    criterion: float
    """Schwarz's criterion: lower explains better, free values of the transform paid for."""
    sized: torch.Tensor
    """(N, E) what came, scaled to the size of its candidate."""
    candidates: Candidates
    """At the height that was found."""


def explained(
    received: torch.Tensor, candidates: Candidates, starts: Sequence[torch.Tensor], free_height: bool
) -> Alignment:
    """The order of entries or the rotation that explains differences (N, E) best, and the labels that go with it.

    From weights (N, R) to start from, and from a start that knows nothing.
    """
    nothing = torch.full((len(received), len(candidates.book)), 1 / len(candidates.book), dtype=received.dtype)
    ways = product((permutation, rotation), (*starts, nothing))
    found = [aligned(received, candidates, weights, solve, free_height) for solve, weights in ways]
    return min(found, key=lambda one: one.criterion)


def aligned(
    received: torch.Tensor, candidates: Candidates, weights: torch.Tensor, solve: Solve, free_height: bool = False
) -> Alignment:
    """From starting weights (N, R) to a transform and weights that agree; differences (N, E) with one gain for all.

    Heat forgets a bad start and may lose a good one, so both are tried and the better criterion is kept.
    """

    def settle(start: torch.Tensor, heat: float) -> Alignment:
        return _settled(received, candidates, start, solve, free_height, heat)

    return min((_named(settle, weights, heat) for heat in HEATS), key=lambda one: one.criterion)


def aimed(received: torch.Tensor, candidates: Candidates, weights: torch.Tensor, solve: Solve) -> Alignment:
    """As `aligned`, where every sample has a scale of its own: only directions count."""
    directions = received / received.norm(dim=1, keepdim=True).clamp(min=TINY)

    def settle(start: torch.Tensor, heat: float) -> Alignment:
        return _settled_directions(directions, candidates, start, solve, heat)

    return min((_named(settle, weights, heat) for heat in HEATS), key=lambda one: one.criterion)


def _named(settle: Callable[[torch.Tensor, float], Alignment], weights: torch.Tensor, heat: float) -> Alignment:
    """Settle, exchange names and settle again, as long as that explains more."""
    found = settle(weights, heat)
    for _ in range(EXCHANGES):
        other = settle(found.weights[:, _exchange(found)], heat)
        if not other.criterion < found.criterion:
            break
        found = other
    return found


def _exchange(found: Alignment) -> torch.Tensor:
    """For each row of the book (R,) the row whose samples it had better get, given the transform."""
    book, shares = found.candidates.book, found.candidates.shares
    rows = torch.arange(len(book))
    if book.shape != (len(rows), len(rows)):
        return rows
    targets = found.candidates.height * found.weights @ book @ found.transform
    taken = shares.T @ (targets - found.sized) @ found.transform.T
    return torch.from_numpy(linear_sum_assignment(taken.numpy(), maximize=True)[1])


def _settled(
    received: torch.Tensor, candidates: Candidates, weights: torch.Tensor, solve: Solve, free_height: bool, heat: float
) -> Alignment:
    squares = received.square().sum(1, keepdim=True)
    smallest = TINY + float(squares.mean())
    for step in range(ROUNDS):
        transform = solve(candidates.expected(weights).T @ received)
        turned = candidates.turned(transform)
        lengths = turned.squares()
        gain = float((received * turned.expected(weights)).sum() / (weights * lengths).sum().clamp(min=TINY))
        errors = (squares - 2 * gain * turned.dots(received) + gain**2 * lengths) / smallest
        before, weights = weights, decoded(errors, received.shape[1], 1 + heat * COOLING**step)
        if free_height and gain:
            candidates = _at_best_height(candidates, received @ transform.T / gain, weights)
        if heat * COOLING**step < 1 and torch.allclose(before, weights, atol=SAME):
            break
    sized = received / (gain or 1.0)
    return Alignment(transform, weights, _criterion(errors, received, solve), sized, candidates)


def _settled_directions(
    received: torch.Tensor, candidates: Candidates, weights: torch.Tensor, solve: Solve, heat: float
) -> Alignment:
    lengths = candidates.squares().clamp(min=TINY).sqrt()
    for step in range(ROUNDS):
        transform = solve(candidates.expected(weights / lengths).T @ received)
        turned = candidates.turned(transform)
        errors = 2 - 2 * turned.dots(received) / turned.squares().clamp(min=TINY).sqrt()
        before, weights = weights, decoded(errors, received.shape[1], 1 + heat * COOLING**step)
        if heat * COOLING**step < 1 and torch.allclose(before, weights, atol=SAME):
            break
    sized = received * (weights * lengths).sum(1, keepdim=True)
    return Alignment(transform, weights, _criterion(errors, received, solve), sized, candidates)


def decoded(errors: torch.Tensor, values: int, heat: float = 1.0) -> torch.Tensor:
    """Probabilities (N, R) from squared distances over a number of values; `heat` times the variance of the nearest."""
    nearest = errors.amin(1, keepdim=True)
    variance = heat * max(float(nearest.mean()), FLOOR) / values
    return ((nearest - errors) / (2 * variance)).softmax(1)


def _at_best_height(candidates: Candidates, undone: torch.Tensor, weights: torch.Tensor) -> Candidates:
    """The height that fits differences (N, D) whose transform is undone, by least squares."""
    targets = weights @ candidates.book
    height = ((undone + candidates.shares) * targets).sum() / (weights @ candidates.book.square().sum(1)).sum()
    return replace(candidates, height=max(float(height), TINY))


def _criterion(errors: torch.Tensor, received: torch.Tensor, solve: Solve) -> float:
    """N E log(residual) + log(N E) for each free angle of a rotation (Schwarz 1978)."""
    width = received.shape[1]
    angles = width * (width - 1) / 2 if solve is rotation else 0.0
    residual = max(float(errors.amin(1).mean()), FLOOR)
    return received.numel() * log(residual) + angles * log(received.numel())
