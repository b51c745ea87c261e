"""Members by all that crossed of a sample together: which examples explain the samples that the server received?

Samples are taken as drawn from a mixture with one component for each example of the challenge, and one for everybody
else. An example's account of a sample is the likelihood of the activations and of the difference together, each under
its own noise; where a secret rotation stands before them, of their lengths. The shares of the mixture are found by
expectation maximisation: two examples compete for a sample, so that one that merely resembles a member fades. The score
is the number of samples that an example explains.

Threat model: a server that knows the backbone, the head where it is public, all that is public of a defence, and a
challenge of labelled texts. It beats `replay`, which has the activations alone and takes each example by itself.
Source: own derivation.

Shapes: N samples, C challenges, F values of an account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, MembershipScores, Needs, Prepared
from ..evidence.differences import JOINED
from ..evidence.members.accounts import Account, accounts
from ..evidence.members.shadowed import membership
from ..evidence.sightings import averaged

LEAST = 1e-3
"""Of a fitted variance, in units of what is taken for rounding."""


@dataclass(frozen=True)
class Witness(Attack):
    """The expected number of samples that came from an example, by its logarithm."""

    name = "witness"
    source = "own derivation"
    goal = Goal.MEMBERS
    needs = Needs(view=frozenset({"activations", "difference"}), public=frozenset({"backbone", "challenge"}))
    attacked = frozenset({"activations", "difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = JOINED

    rounds: int = 30
    """Of expectation maximisation."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"rounds of witness is {self.rounds}; give at least 1")

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> MembershipScores:
        """A score (C,) for each challenge."""
        kinds = list(accounts(*averaged(view, public), generator))
        if not kinds or not len(kinds[0].received):
            return membership(public, torch.zeros(len(public.challenge)))
        return membership(public, explained(kinds, self.rounds))


def explained(kinds: Sequence[Account], rounds: int) -> torch.Tensor:
    """The logarithm (C,) of how many samples each example explains."""
    compared = [_Kind(account) for account in kinds]
    examples = compared[0].squares.shape[1]
    shares = torch.full((examples + 1,), -log(examples + 1))
    for _ in range(rounds):
        joint = shares + torch.cat([_own(compared), _others(compared)], 1)
        told = joint.log_softmax(1)
        counts = told.logsumexp(0)
        shares = counts.log_softmax(0)
        for kind in compared:
            kind.fit(told[:, :-1].exp())
    return counts[:-1]


class _Kind:
    """One account's squared distances, and the variances that belong to them."""

    def __init__(self, account: Account) -> None:
        self._fitted, self.values = account.fitted, account.expected.shape[1]
        self.squares = torch.cdist(account.received, account.expected).square()
        """(N, C)"""
        apart = torch.cdist(account.expected, account.expected).square()
        apart.fill_diagonal_(torch.inf)
        self.variance = float(self.squares.min(1).values.mean()) / self.values if self._fitted else 1.0
        self.variance = max(self.variance, LEAST)
        self._near = float(apart.min(1).values.mean()) / (2 * self.values)

    def log_density(self, *, beside: bool) -> torch.Tensor:
        """(N, C) of a sample around an example; `beside`: of another text, as near as examples are to each other."""
        variance = self.variance + self._near * beside
        return -self.squares / (2 * variance) - self.values * log(variance) / 2

    def fit(self, weights: torch.Tensor) -> None:
        """The variance of samples (N, C) around the examples that explain them."""
        if self._fitted and float(weights.sum()) > 1:
            mean = float((weights * self.squares).sum() / weights.sum())
            self.variance = max(mean / self.values, LEAST)


def _own(compared: Sequence[_Kind]) -> torch.Tensor:
    """(N, C)"""
    return torch.stack([kind.log_density(beside=False) for kind in compared]).sum(0)


def _others(compared: Sequence[_Kind]) -> torch.Tensor:
    """(N, 1) somebody else, like one of the examples."""
    beside = torch.stack([kind.log_density(beside=True) for kind in compared]).sum(0)
    return beside.logsumexp(1, keepdim=True) - log(beside.shape[1])
