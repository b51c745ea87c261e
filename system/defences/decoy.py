"""Samples and classes that the device makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import one_hot

from ..data import Sample
from ..difference import DifferenceKind
from ..errors import UsageError
from .defence import Defence, Part, Targets

MOST = 10.0
"""Made-up samples for each real one."""
WEAKEST = 0.01


@dataclass(frozen=True)
class Decoy(Defence):
    """Made-up samples, half of one of the device's texts and half of another, with a class drawn uniformly.

    Decoy classes widen the difference, with rows of the head that only the device knows, and no real sample has them;
    the device ignores them when it predicts.
    """

    name = "decoy"
    title = "made-up samples and classes"
    source = "own derivation"
    part = Part.SAMPLES
    keyed = True

    classes: int = 4
    """Decoy classes beside the real ones."""
    samples: float = 0.25
    """Made-up samples, as a share of the real ones."""

    def __post_init__(self) -> None:
        if self.classes < 0:
            raise UsageError(f"decoy has {self.classes} classes; give 0 or more")
        if not 0 < self.samples <= MOST:
            raise UsageError(f"the samples of decoy are {self.samples}; give a share above 0 and at most {MOST:g}")

    def check(self, classes: int, kind: DifferenceKind) -> None:
        if classes < 2:
            raise UsageError(f"decoys among {classes} class say nothing; give data with at least 2 classes")

    def decoys(self, samples: Sequence[Sample], classes: int, generator: torch.Generator) -> list[tuple[Sample, int]]:
        count = max(1, round(self.samples * len(samples)))
        halves = torch.randint(len(samples), (count, 2), generator=generator).tolist()
        drawn = torch.randint(classes + self.classes, (count,), generator=generator).tolist()
        names = torch.randint(256, (count, 8), generator=generator).tolist()
        made = [
            Sample(bytes(i).hex(), spliced(samples[a].text, samples[b].text), "", ())
            for i, (a, b) in zip(names, halves, strict=True)
        ]
        return list(zip(made, drawn, strict=True))

    def targets(self, targets: Targets, generator: torch.Generator) -> Targets:
        """Decoy classes come after the real ones; the rows of their head have the lengths of real ones."""
        if not self.classes:
            return targets
        if targets.secret_book or targets.head is None:
            raise UsageError("decoy classes widen one-hot differences; leave code away, or give decoy classes = 0")
        whole = len(targets.book) + self.classes
        height = float(targets.book.norm(dim=2).max())
        rows = torch.randn(self.classes, targets.head.shape[1], generator=generator)
        rows = rows / rows.norm(dim=1, keepdim=True) * targets.head.norm(dim=1).mean()
        book = height * one_hot(torch.arange(whole), whole).float().unsqueeze(1)
        return replace(targets, book=book, head=torch.cat([targets.head, rows]))

    def weakest(self) -> Decoy:
        return Decoy(classes=0, samples=min(self.samples, WEAKEST))


def spliced(first: str, second: str) -> str:
    """The first half of one text's words and the second half of another's."""
    a, b = first.split(), second.split()
    return " ".join([*a[: (len(a) + 1) // 2], *b[len(b) // 2 :]])
