"""Labels from differences whose backbone share is secret, by a mixture of linear regressions.

With a secret head, or secret target codes, a logit difference is `c_y - W a`: one unknown slope W for all samples, on
the pivot a behind the backbone's final norm, and one unknown centre c_y for each class or codeword. The fit needs no
label; known labels and auxiliary texts give it further starts, and a secret factor for each sample is fitted as well.
Names: with a secret head alone the centres are one-hot rows, up to a shift that all share, so the entry that stands out
names the class; otherwise groups are named by known labels, auxiliary texts, class names and priors. The softmax of a
probability difference is linear only for small scores, so that the fit is an approximation there.
Threat model: a server that receives the pivot's last state and the difference, and knows the kinds of defences; the
backbone may be private, as long as its final norm is a layer norm.
Source: own derivation; mixtures of linear regressions: Yi, Caramanis and Sanghavi, arXiv 1310.3745.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from ...system.public import Public
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import JOINED, differences
from ..evidence.labels.regressing import regressed


@dataclass(frozen=True)
class Regress(Attack):
    """One slope for all, one centre a class or codeword."""

    name = "regress"
    source = "own derivation; mixtures of linear regressions, arXiv 1310.3745"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations"}))
    attacked = frozenset({"difference"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = JOINED

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A label (N,) for each sample that sent both kinds."""
        found = differences(view, public)
        return LabelGuess(found.ids, regressed(found, public, generator).labels)
