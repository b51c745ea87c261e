"""Secret random codewords instead of one-hot targets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn.functional import normalize

from ..difference import DifferenceKind
from ..errors import UsageError
from ..heads import linear
from .defence import Defence, Part, Targets


@dataclass(frozen=True)
class Code(Defence):
    """Several codewords a class, on the unit sphere at the height of the one-hot; each sample draws one of its class's.

    The width says nothing about the number of classes. The device reads the class whose mean codeword is nearest.
    """

    name = "code"
    title = "secret random codewords instead of one-hot targets"
    source = "own derivation; output codes: Dietterich and Bakiri 1995"
    part = Part.DIFFERENCE
    keyed = True

    width: int = 64
    """Values of a codeword."""
    words: int = 4
    """Codewords a class."""
    share: bool = True
    """Whether a secret linear function of the pivot is taken away, which keeps equal codewords from being equal."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UsageError(f"the width of code is {self.width}; give at least 1")
        if self.words < 1:
            raise UsageError(f"code has {self.words} words a class; give at least 1")

    def check(self, classes: int, kind: DifferenceKind) -> None:
        if kind != "logit":
            raise UsageError(f"codes take the place of logits; give difference = logit instead of {kind}")

    def targets(self, targets: Targets, generator: torch.Generator) -> Targets:
        if not targets.public_rows:
            raise UsageError("code draws a secret head of its own; leave secret-head away")
        classes, _, _ = targets.book.shape
        height = float(targets.book.norm(dim=2).max())
        book = height * normalize(torch.randn(classes, self.words, self.width, generator=generator), dim=2)
        assert targets.head is not None
        head = linear(self.width, targets.head.shape[1], generator) if self.share else None
        return replace(targets, book=book, head=head, public_rows=0, secret_book=True)

    def weakest(self) -> Code:
        return replace(self, words=1, revealed=False)
