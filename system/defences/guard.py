"""All defences of a run together: from labels to what is sent, and from the server's outputs back to class scores.

Keys come from streams of their own, so that all devices of a run have the same and the server trains one side network.

Shapes: N samples, B samples of a message, K classes, D values of a difference, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import hypot, prod
from typing import Any

import torch
from torch.nn.functional import one_hot

from ..backbone import Backbone
from ..data import Sample
from ..difference import DifferenceKind
from ..message import Party
from ..randomness import Streams
from .defence import Budget, Defence, Part, Targets
from .label_dp import LabelDP
from .noise import Noise
from .reading import Reading


@dataclass(frozen=True)
class Guard:
    """The defences of one run with their keys."""

    defences: tuple[Defence, ...]
    kind: DifferenceKind
    scale: float
    """Height of the one-hot target of a logit difference."""
    head: torch.Tensor
    """(K, d) the head that a defence may replace."""
    streams: Streams

    def __post_init__(self) -> None:
        for defence in self.defences:
            defence.check(len(self.head), self.kind)

    @cached_property
    def targets(self) -> Targets:
        """Codewords and head after all defences; UsageError where two do not go together."""
        classes = len(self.head)
        height = self.scale if self.kind == "logit" else 1.0
        book = height * one_hot(torch.arange(classes), classes).float().unsqueeze(1)
        found = Targets(self.kind, book, self.head, public_rows=classes)
        for defence in self.defences:
            found = defence.targets(found, self.streams.torch(f"key:{defence.name}:targets"))
        return found

    @cached_property
    def transform(self) -> torch.Tensor | None:
        """The secret matrices' product (D, D); None where there is none."""
        product: torch.Tensor | None = None
        for defence in self.defences:
            matrix = defence.transform(self.targets.width, self.streams.torch(f"key:{defence.name}:transform"))
            if matrix is not None:
                product = matrix if product is None else matrix @ product
        return product

    def difference(
        self, backbone: Backbone, pivots: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """What is sent (B, D) for last states of pivots (B, d) and labels (B,)."""
        book = self.targets.book
        words = torch.randint(book.shape[1], labels.shape, generator=generator) if book.shape[1] > 1 else 0
        found = book[labels, words] - self.reading.share(backbone, pivots)
        for defence in self.defences:
            found = defence.noise(found, self.targets.sensitivity, generator)
        if self.transform is not None:
            found = found @ self.transform.T
        for defence in self.defences:
            found = defence.disguise(found, generator)
        return found

    @cached_property
    def reading(self) -> Reading:
        """How class scores are read off the side network's outputs."""
        classes, found = len(self.head), self.targets
        means = found.book[:classes].mean(1) if found.secret_book else None
        return Reading(self.kind, classes, found.width, found.head, self.transform, means)

    @property
    def facts(self) -> dict[str, Any]:
        """What anybody knows of how differences come about.

        `difference_key`: `none`, `known` where a control reveals every key, else `secret`. `difference_spread` is the
        standard deviation of the noise on every value, `difference_clip` the largest length before it, 0 for none, and
        `labels_redrawn` how often a label is drawn anew.
        """
        keyed = [one for one in self.defences if one.keyed and one.part is Part.DIFFERENCE]
        noises = [one for one in self.defences if isinstance(one, Noise)]
        kept = prod(1 - one.redrawn(len(self.head)) for one in self.defences if isinstance(one, LabelDP))
        secret = any(not one.revealed for one in keyed)
        return {
            "difference_key": "secret" if secret else "known" if keyed else "none",
            "difference_spread": hypot(*(one.deviation(self.targets.sensitivity) for one in noises)),
            "difference_clip": min((one.clip for one in noises if one.clip), default=0.0),
            "labels_redrawn": 1 - kept,
        }

    @property
    def public_head(self) -> torch.Tensor | None:
        """What anybody knows of the head: all of it, its first rows, or nothing."""
        head, known = self.targets.head, self.targets.public_rows
        if head is None or any(defence.revealed for defence in self.defences):
            return head
        return head[:known] if known else None

    @property
    def keys(self) -> dict[str, torch.Tensor]:
        """What controls reveal: `transform` (D, D) and `book` (K, m, D) at height one."""
        if not any(defence.revealed for defence in self.defences):
            return {}
        found = {} if self.transform is None else {"transform": self.transform}
        height = self.scale if self.kind == "logit" else 1.0
        return {**found, "book": self.targets.book[: len(self.head)] / height}


def relabelled(
    defences: Sequence[Defence], labels: torch.Tensor, classes: int, streams: Streams, party: Party
) -> torch.Tensor:
    """The labels (N,) that a device uses: drawn once, so that a sample sent again has the same."""
    for defence in defences:
        labels = defence.relabel(labels, classes, streams.torch(f"{party}:labels:{defence.name}"))
    return labels


def decoys(
    defences: Sequence[Defence], samples: Sequence[Sample], classes: int, streams: Streams, party: Party
) -> Mapping[Sample, int]:
    """Made-up samples with their classes."""
    found: dict[Sample, int] = {}
    for defence in defences:
        found.update(defence.decoys(samples, classes, streams.torch(f"{party}:decoys:{defence.name}")))
    return found


def budget(defences: Sequence[Defence], classes: int, releases: int = 1) -> Budget | None:
    """The strongest promise among the defences: each acts on what the one before it made, so none weakens another."""
    promised = [found for defence in defences if (found := defence.budget(classes, releases)) is not None]
    return min(promised, key=lambda found: found.epsilon, default=None)
