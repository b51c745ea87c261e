"""Attacks as a plug-in might bring them: one that works, and one for every way in which an attack may break."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from sidelight.attacks.attack import (
    Attack,
    EpsilonBound,
    Goal,
    Guess,
    LabelGuess,
    Needs,
    Prepared,
    StolenModel,
    Studied,
    TextGuess,
)
from sidelight.attacks.reconstruction.inverter import LearnedInverter
from sidelight.attacks.reconstruction.search import Search
from sidelight.attacks.workbench import Workbench
from sidelight.system.public import Public
from sidelight.system.view import View

NEEDS = Needs(view=frozenset({"difference"}))
ATTACKED = frozenset({"difference"})


class Working(Attack):
    """Reads the label off the difference."""

    name = "working"
    source = "tests"
    goal = Goal.LABELS
    needs = NEEDS
    attacked = ATTACKED

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        ids, rows = view.rows("difference", "difference")
        return self.guess(ids, rows)

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        return LabelGuess(ids, rows.argmax(1))


class Preparing(Working):
    """Finds out from public knowledge how many classes there are."""

    name = "preparing"
    studies = Studied(frozenset(), frozenset())

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        return {"classes": torch.tensor(len(public.labels))}

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        ids, rows = view.rows("difference", "difference")
        return self.guess(ids, rows[:, : int(prepared["classes"])])


@dataclass(frozen=True)
class BriefInverter(LearnedInverter):
    """`inverter` for seconds."""

    texts: int = 256
    steps: int = 2
    batch: int = 4
    beam: int = 2


@dataclass(frozen=True)
class BriefSearch(Search):
    """`search` for seconds."""

    candidates: int = 64
    rounds: int = 1
    tokens: int = 2**12


class Unprepared(Preparing):
    """Fails before it has seen a view."""

    name = "unprepared"

    def prepare(self, public: Public, generator: torch.Generator, bench: Workbench) -> Prepared:
        raise ArithmeticError("nothing converges")


class Raising(Working):
    """Raises."""

    name = "raising"

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        raise ArithmeticError("the matrix is singular")


class Hanging(Working):
    """Never ends."""

    name = "hanging"

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        while True:
            time.sleep(1)


class Growing(Working):
    """Takes memory until it is stopped."""

    name = "growing"

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        kept = []
        while True:
            kept.append(torch.ones(8 << 20))


class NotANumber(Working):
    """Steals a model of NaN."""

    name = "nan"
    goal = Goal.MODEL

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        ids = tuple(query.id for query in public.queries)
        return StolenModel(ids, torch.full((len(ids), len(public.labels)), float("nan")))


class ForeignIds(Working):
    """Names rows that nobody knows."""

    name = "foreign"

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        return LabelGuess(tuple(f"row {i}" for i in range(len(ids))), rows.argmax(1))


class TwoGuesses(Working):
    """Gives two labels a row."""

    name = "two"

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        return LabelGuess(ids, rows.topk(2).indices)


class OtherGoal(Working):
    """Guesses texts where labels are asked for."""

    name = "other"

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        return TextGuess(ids, ((1,),) * len(ids))


class Unscored(Working):
    """Has a goal that this version cannot score."""

    name = "unscored"
    goal = Goal.EPSILON

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        return EpsilonBound(1.0, 1e-5, 0.95)


class Shy(Working):
    """Leaves half of the rows out."""

    name = "shy"

    def guess(self, ids: tuple[str, ...], rows: torch.Tensor) -> Guess:
        half = len(ids) // 2
        return LabelGuess(ids[:half], rows[:half].argmax(1))
