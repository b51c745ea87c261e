"""What a defence is: a change to what the device sends, undone where the device holds the key.

A defence overrides the steps that it changes. `guard.py` takes labels and differences through them in this order, and
`cover.py` activations:

    labels -> relabel -> targets (codewords, head) -> difference -> noise -> transform -> disguise -> wire
    text -> body -> activations -> kept -> bounded -> blurred -> maps -> wire, at `wire_precision`

Settings are public. Keys are drawn from the generators that the steps are given, and belong to the truth; a control
run reveals them (`revealed`), to show that the attacks would work without the secret.

Shapes: N samples, B samples of a message, K classes, D values of a difference, L layers that cross, d width, k width
behind a map, m codewords a class.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

import torch

from ..backbone import Backbone
from ..codec import Precision
from ..data import Sample
from ..difference import DifferenceKind

OBSERVERS = "whoever sees what crosses"


class Part(StrEnum):
    """What a defence changes, of a device's messages or of the server's training; a protocol says what it has."""

    LABELS = "labels"
    DIFFERENCE = "difference"
    SAMPLES = "samples"
    ACTIVATIONS = "activations"
    BACKBONE = "backbone"
    TRAINING = "training"


@dataclass(frozen=True)
class Targets:
    """What labels become before the backbone's share is taken away."""

    kind: DifferenceKind
    book: torch.Tensor
    """(K, m, D) codewords of each class, at the height that is sent: one-hot rows unless a defence changed them."""
    head: torch.Tensor | None
    """(D, d) the frozen head behind the backbone's share; None where no share is taken away."""
    public_rows: int = 0
    """How many of the head's rows, the first ones, anybody knows."""
    secret_book: bool = False
    """Whether only the device knows the codewords."""

    @property
    def width(self) -> int:
        """D."""
        return self.book.shape[2]

    @property
    def sensitivity(self) -> float:
        """The largest distance between targets of two classes: what one label can change, other things equal."""
        flat = self.book.flatten(0, 1)
        apart = torch.cdist(flat.double(), flat.double())
        own = torch.arange(len(self.book)).repeat_interleave(self.book.shape[1])
        return float(apart[own.unsqueeze(1) != own].max())


@dataclass(frozen=True)
class Budget:
    """What a defence promises: (epsilon, delta)-differential privacy of one unit."""

    epsilon: float
    delta: float
    unit: str
    """`label`: one sample's label changes, its text does not. `example`: one sample becomes another one."""
    against: str = OBSERVERS
    """Whom the promise is about."""


@dataclass(frozen=True)
class PrivateSteps:
    """How a server trains with differential privacy."""

    rate: float
    """With which probability a step draws an example."""
    expected: float
    """Examples in a step, on average."""
    an_epoch: int
    """Steps."""
    epochs: int
    """After which the promise is spent."""
    clip: float
    ratio: float
    """The noise's standard deviation over the clip."""
    promised: Budget


class Loss(NamedTuple):
    """What Gaussian noise leaves of one example's influence on what crosses."""

    mu: float
    """The most that the example moves it, over the noise's standard deviation."""
    delta: float
    """At which epsilon is stated."""


@dataclass(frozen=True)
class Defence(ABC):
    """Settings are the fields of a frozen dataclass, checked when it is made."""

    name: ClassVar[str]
    """Registry key, file name (with `_` for `-`) and word in the report."""
    title: ClassVar[str]
    """What it does, in a line."""
    source: ClassVar[str]
    part: ClassVar[Part]
    keyed: ClassVar[bool]
    """Whether it has a key that a control can reveal."""
    evaded: ClassVar[str] = ""
    """How whoever knows the defence gets around it, where not every attack here does: its rows never read `resists`."""

    revealed: bool = field(default=False, kw_only=True)
    """A control: the adversary is given the key."""

    @property
    def can_reveal(self) -> bool:
        """Whether these settings have one key for all samples."""
        return self.keyed

    def check(self, classes: int, kind: DifferenceKind) -> None:  # noqa: B027 - most defences work everywhere
        """Raise UsageError where the defence cannot work on so many classes or this kind of difference."""

    def relabel(self, labels: torch.Tensor, classes: int, generator: torch.Generator) -> torch.Tensor:
        """The labels (N,) that the device uses, drawn once."""
        return labels

    def decoys(self, samples: Sequence[Sample], classes: int, generator: torch.Generator) -> list[tuple[Sample, int]]:
        """Samples that the device makes up, each with its class; those from K on are decoy classes."""
        return []

    def targets(self, targets: Targets, generator: torch.Generator) -> Targets:
        """Other codewords or another head."""
        return targets

    def noise(self, difference: torch.Tensor, sensitivity: float, generator: torch.Generator) -> torch.Tensor:
        """The difference (B, D) with noise; `sensitivity` is what one label can change."""
        return difference

    def transform(self, width: int, generator: torch.Generator) -> torch.Tensor | None:
        """A secret matrix M (D, D), the same for all samples: x is sent as M x."""
        return None

    def disguise(self, difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """What is sent (B, D), with a key for each sample that is then forgotten."""
        return difference

    def body(self, backbone: Backbone) -> Backbone:
        """The backbone that the device runs."""
        return backbone

    def kept(self, layers: Sequence[int]) -> Sequence[int]:
        """Of the layers, numbered from 1, those that cross; UsageError where there are none such."""
        return layers

    def bounded(self, states: torch.Tensor) -> torch.Tensor:
        """States (B, L, d) brought within public bounds."""
        return states

    def blurred(self, states: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Bounded states (B, L, d) with noise, drawn once a sample; the device predicts from states without it."""
        return states

    def maps(self, layers: int, width: int, generator: torch.Generator) -> torch.Tensor | None:
        """Secret matrices M (L, k, d), the same for all samples: a layer's state x is sent as M x."""
        return None

    def wire_precision(self, own: Precision) -> Precision:
        """At which precision activations cross, instead of the protocol's own."""
        return own

    def budget(self, classes: int, releases: int = 1) -> Budget | None:
        """What it promises for one label after so many releases of its sample; None where it promises nothing."""
        return None

    def activations_loss(self, layers: int) -> Loss | None:
        """What its noise on so many layers' activations leaves of an example; None without such noise."""
        return None

    def difference_loss(self, targets: Targets) -> Loss | None:
        """What its noise on the difference leaves of an example; None without such noise, or without bounds."""
        return None

    def private_steps(self, rows: int, batch: int, epochs: int) -> PrivateSteps | None:
        """How a server trains on so many rows, in batches and epochs of this number; None for as it likes."""
        return None

    def weakest(self) -> Defence | None:
        """The same defence at a strength that protects next to nothing; None where it has no strength."""
        return None

    def shown(self) -> Defence | None:
        """The same defence with its key revealed; None where there is no key to reveal."""
        return replace(self, revealed=True) if self.can_reveal else None

    def settings(self) -> dict[str, Any]:
        """The settings by name."""
        return dict(vars(self))
