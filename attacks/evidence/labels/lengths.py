"""Labels from lengths alone: which of a sample's candidates is as long as the difference that came.

|c e_y - f|^2 = c^2 - 2 c f_y + |f|^2 survives every rotation and permutation. What is not known beforehand, see
hypotheses.py, is fitted by maximum likelihood of a mixture over the labels, in which log |received|^2 is Gaussian about
its candidate's. Half of the labels are taken to be uniform and half as the backbone predicts, since labels that follow
its output and labels that do not both occur. Expectation maximisation refines the best start. A free value must earn
its place by the Bayesian information criterion (Schwarz 1978) and a margin.

Shapes: N samples, R rows of the candidates' book, H hypotheses, S deviations.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch

from .candidates import Candidates
from .hypotheses import BLOCK, EXACT, TINY, Data, Unknowns, hypotheses

DEVIATIONS = (EXACT, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
"""Standard deviations of log |received|^2 that are tried: from full precision to useless."""
STRANGE = log(1e-4)
"""Log density of a sample that no candidate explains."""
ROUNDS = ((16, 64), (64, 12))
"""Hypotheses are compared on so many samples, and so many of them go on to the next round."""
MANY = 512
"""Samples on which the last of them are compared, and the best is refined."""
STEPS = 30
DECISIVE = 0.1
"""Log likelihood a sample that a fitted value must bring: errors are not quite Gaussian, public values seldom false."""


@dataclass(frozen=True)
class Lengths:
    """What lengths say: the unknowns, and each row's probability for each sample."""

    gain: float
    height: float
    deviation: float
    weights: torch.Tensor
    """(N, R), rows sum to one"""


def by_length(
    received: torch.Tensor, candidates: Candidates, generator: torch.Generator, free_height: bool = False
) -> Lengths:
    """Fit the unknowns to differences (N, D) as they came; `free_height` doubts the candidates' height."""
    squares = received.double().square().sum(1).clamp(min=TINY)
    order = torch.randperm(len(squares), generator=generator)[:MANY]
    some = Data(squares, candidates).of(order)
    found, deviation = _refined(some, *_best(some, hypotheses(some, free_height)))
    errors = Data(squares, candidates).errors(found)[0]
    # labels need not follow the backbone's opinion: from here on the nearest candidate is the likeliest
    weights = (-errors.square() / (2 * deviation**2)).softmax(1)
    return Lengths(float((found.gain[0] / 2).exp()), float(found.height[0]), deviation, weights)


def _best(data: Data, tried: Unknowns) -> tuple[Unknowns, float]:
    """The likeliest hypothesis with its deviation, after rounds on few samples."""
    for samples, kept, deviations in ((*ROUNDS[0], DEVIATIONS[::2]), (*ROUNDS[1], DEVIATIONS)):
        likelihood = _penalised(data.first(samples), tried, deviations).amax(1)
        likelihood[0] = torch.inf  # the public values stay in any case
        tried = tried.of(likelihood.argsort(descending=True, stable=True)[:kept])
    likelihood = _penalised(data, tried, DEVIATIONS)
    best = int(likelihood.amax(1).argmax())
    return tried.of(torch.tensor([best])), DEVIATIONS[int(likelihood[best].argmax())]


def _penalised(data: Data, tried: Unknowns, deviations: tuple[float, ...]) -> torch.Tensor:
    """Log likelihood (H, S) less what every fitted value costs."""
    count = len(data.squares)
    cost = 0.5 * log(count) + DECISIVE * count
    return _likelihood(data, tried, deviations) - cost * tried.free.sum(1, keepdim=True)


def _likelihood(data: Data, tried: Unknowns, deviations: tuple[float, ...]) -> torch.Tensor:
    """Log likelihood (H, S) of hypotheses under each deviation."""
    step = max(1, BLOCK // (len(data.squares) * len(data.candidates.book)))
    found, expectation = [], data.expectation()
    for i in range(0, len(tried.gain), step):
        errors = data.errors(tried.of(torch.arange(i, min(i + step, len(tried.gain)))))
        found.append(torch.stack([_densities(errors, s, expectation).sum(1) for s in deviations], 1))
    return torch.cat(found)


def _densities(errors: torch.Tensor, deviation: float, expectation: torch.Tensor) -> torch.Tensor:
    """Log density of each sample (H, N) from its errors (H, N, R)."""
    fits = (expectation - errors.square() / (2 * deviation**2)).logsumexp(2) - log(deviation)
    return torch.logaddexp(fits, torch.tensor(STRANGE, dtype=fits.dtype))


def _refined(data: Data, found: Unknowns, deviation: float) -> tuple[Unknowns, float]:
    """Expectation maximisation of the free unknowns and the deviation; a step that loses likelihood ends it."""
    best = float(_likelihood(data, found, (deviation,)))
    for _ in range(STEPS):
        errors = data.errors(found)[0]
        weights = _memberships(data, errors, deviation)
        moved = _moved(data, found, errors, weights)
        spread = float((weights * data.errors(moved)[0].square()).sum() / weights.sum().clamp(min=TINY)) ** 0.5
        spread = min(max(spread, EXACT), 1.0)
        likelihood = float(_likelihood(data, moved, (spread,)))
        if not likelihood > best:
            break
        found, deviation, best = moved, spread, likelihood
    return found, deviation


def _memberships(data: Data, errors: torch.Tensor, deviation: float) -> torch.Tensor:
    """Probability of each row (N, R); a strange sample's sum is below one."""
    fits = data.expectation() - errors.square() / (2 * deviation**2) - log(deviation)
    return (fits - torch.logaddexp(fits.logsumexp(1), torch.tensor(STRANGE, dtype=fits.dtype)).unsqueeze(1)).exp()


def _moved(data: Data, found: Unknowns, errors: torch.Tensor, weights: torch.Tensor) -> Unknowns:
    """One Gauss-Newton step of weighted least squares in log gain^2, log height and log offset."""
    free = found.free[0]
    if not free.any():
        return found
    length, gain, height = data.at(found.height)[0], found.gain.exp(), found.height
    expected = length * gain + found.offset
    slope = (
        2 * height * (height * data.candidates.book.square().sum(1) - data.candidates.shares @ data.candidates.book.T)
    )
    jacobian = torch.stack([length * gain, slope * gain, found.offset.expand_as(length)], 2) / expected.unsqueeze(2)
    jacobian = jacobian[:, :, free]
    weighted = (jacobian * weights.unsqueeze(2)).flatten(0, 1)
    normal = weighted.T @ jacobian.flatten(0, 1)
    step = torch.zeros(3, dtype=torch.float64)
    step[free] = torch.linalg.lstsq(normal, weighted.T @ errors.flatten().unsqueeze(1)).solution.squeeze(1)
    step = step.nan_to_num().clamp(-0.5, 0.5)
    return found._replace(gain=found.gain + step[0], height=height * step[1].exp(), offset=found.offset * step[2].exp())
