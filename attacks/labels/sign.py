"""Labels from the sign of an untransformed probability difference.

one-hot minus softmax has one positive entry, the label's, whatever the head, and however secret it is.
Threat model: a server that receives the difference in the clear, without any auxiliary data.
Source: own derivation; cf. the sign attack on the last layer's gradient, iDLG (arXiv 2001.02610, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import CLASSES, undone


@dataclass(frozen=True)
class Sign(Attack):
    """The largest entry is the only positive one."""

    name = "sign"
    source = "own derivation; cf. iDLG, arXiv 2001.02610"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = CLASSES

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """argmax over the classes of each difference (samples, K, or more where there are decoy classes)."""
        ids, difference = view.rows("difference", "difference")
        return LabelGuess(ids, undone(difference, public)[:, : len(public.labels)].argmax(1))
