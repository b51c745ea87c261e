"""Labels from activations without knowing a single label: what they say about the class names.

Threat model: adversary (a), a server that knows the backbone, the class names and at most their frequencies. Known and
auxiliary labels are left aside even where they are there.
Source: zero-shot classification by label names, Chang et al. (AAAI 2008) and Meng et al. (arXiv 2010.07245); the method
stands in evidence/labels/reading.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.labels.reading import by_names
from ..evidence.states import PLAIN, PROJECTED, crossed_states


@dataclass(frozen=True)
class Read(Attack):
    """Class names teach what activations say of labels."""

    name = "read"
    source = "own combination; cf. arXiv 2010.07245"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"activations": (PLAIN, PROJECTED)}

    passes: int = 8
    """How often samples and classes are fitted to each other."""

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise UsageError(f"passes is {self.passes}; give at least 1")

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A class for each sample whose activations crossed."""
        known = public.only(frozenset({"backbone", "keys", "priors"}), frozenset(public.facts))
        ids, states = crossed_states(view, known)
        if not ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        return LabelGuess(ids, by_names(states, known, self.passes).argmax(1))
