"""What an attack is: it turns a view and public knowledge into a guess, and sees nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple

import torch

from ..system.public import CAUSAL, Public
from ..system.view import View
from .workbench import Workbench


class Goal(StrEnum):
    """What an attack is after; scoring and the contract suite go by it."""

    LABELS = "labels"
    TEXTS = "texts"
    MODEL = "model"
    MEMBERS = "members"
    EPSILON = "epsilon"


@dataclass(frozen=True)
class LabelGuess:
    """A class for each sample."""

    ids: tuple[str, ...]
    labels: torch.Tensor
    """(samples,) int64, indices into public.labels"""


@dataclass(frozen=True)
class TextGuess:
    """Tokens of the backbone's vocabulary for each sample, from the text's first token on."""

    ids: tuple[str, ...]
    """Empty for an attack that is not `linked`: the harness then matches texts and samples one to one."""
    tokens: tuple[tuple[int, ...], ...]
    certified: tuple[bool, ...] = ()
    """Whether the attacker itself verified a sample's guess; empty where it did not try."""


@dataclass(frozen=True)
class StolenModel:
    """A model, shown by its outputs on the public queries."""

    ids: tuple[str, ...]
    outputs: torch.Tensor
    """(queries, classes) float32: class scores"""


@dataclass(frozen=True)
class MembershipScores:
    """A score for each example of the public challenge, higher where membership is likelier."""

    ids: tuple[str, ...]
    scores: torch.Tensor
    """(challenges,) float32"""
    owners: tuple[str, ...] = ()
    """For each, the device that it came from, if it is a member; empty where the attack does not say."""


@dataclass(frozen=True)
class EpsilonBound:
    """A lower bound on epsilon, with its delta and confidence."""

    epsilon: float
    delta: float
    confidence: float


Guess = LabelGuess | TextGuess | StolenModel | MembershipScores | EpsilonBound

CAUSAL_ONLY: Mapping[str, tuple[str, ...]] = {"attention": (CAUSAL,)}
"""What an attack assumes that finds a token from those before it: in an encoder later ones count as well."""

Prepared = Mapping[str, torch.Tensor]
"""What an attack computes from public knowledge alone."""


class Needs(NamedTuple):
    """What must be there for an attack to apply."""

    view: frozenset[str] = frozenset()
    """Kinds that cross, and held items as `held:NAME`."""
    public: frozenset[str] = frozenset()
    """Names of public items: see `ITEMS` in system/public.py."""


class Studied(NamedTuple):
    """What of public knowledge a preparation sees, beside the class names."""

    items: frozenset[str]
    """As in `Needs.public`."""
    facts: frozenset[str]
    """Names of public facts."""
    settings: frozenset[str] = frozenset()
    """The attack's own settings that matter to it; the others have their defaults meanwhile."""


@dataclass(frozen=True)
class Attack(ABC):
    """Settings are the fields of a frozen dataclass; knowledge comes to the calls."""

    name: ClassVar[str]
    """Registry key, file name and row of the report."""
    source: ClassVar[str]
    """Where the attack comes from."""
    goal: ClassVar[Goal]
    needs: ClassVar[Needs]
    attacked: ClassVar[frozenset[str]]
    """The kinds whose leak is claimed: `blind_rest` sees the view without them."""
    assumes: ClassVar[Mapping[str, tuple[str | bool, ...]]] = {}
    """Public facts that must have one of the given values, such as {"difference": ("probability",)}."""

    linked: ClassVar[bool] = True
    """Whether guesses are of samples by id. False where no id crosses with what is attacked: texts are found then, and
    nobody can say whose sample each is."""

    studies: ClassVar[Studied | None] = None
    """What `prepare` sees; None for all that is public. Runs that differ in nothing else share what was prepared."""

    shares_preparation: ClassVar[bool] = False
    """Whether attacks that inherit `prepare`, and all that it reads but settings, may share what was prepared."""

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        """Whatever public knowledge alone allows to be computed before a view is seen: an inverter, shadow models.

        It is computed once for all runs, twins and repeats with the same settings and the same studied knowledge. What
        takes minutes says how far it is and keeps what it has, so that it can go on where it was stopped::

            state = bench.kept(generator) or first_state(generator)
            for step in range(int(state["step"]), STEPS):
                state = ...
                bench.keep(state, generator)
                bench.progress(step + 1, STEPS)
        """
        return {}

    @abstractmethod
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        """The guess."""
