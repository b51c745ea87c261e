"""Attacks with a mistake planted in them, which the harness must not believe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from sidelight.attacks.attack import Attack, Goal, Guess, LabelGuess, Needs, Prepared
from sidelight.system.public import Public
from sidelight.system.view import View


@dataclass(frozen=True)
class Constant(Attack):
    """Says the first class of every row: it has read nothing."""

    name = "constant"
    source = "tests"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference"}))
    attacked = frozenset({"difference"})

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        ids, _ = view.rows("difference", "difference")
        return LabelGuess(ids, torch.zeros(len(ids), dtype=torch.int64))


@dataclass(frozen=True)
class Cheating(Constant):
    """Reads labels by id from a file that it was never given, as one would through a hole in the sandbox."""

    name = "cheating"

    path: str = ""

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        ids, _ = view.rows("difference", "difference")
        lines = Path(self.path).read_text(encoding="utf-8").splitlines()
        known = {row["id"]: row["label"] for row in map(json.loads, lines)}
        return LabelGuess(ids, torch.tensor([public.labels.index(known[i]) for i in ids]))
