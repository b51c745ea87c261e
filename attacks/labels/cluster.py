"""Labels from groups of like differences, and of like outputs of the side network that was trained on them.

Codewords without a backbone share are equal, one-hot rows that are rotated lie close together, and a permuted
probability difference has one positive entry, whatever the order. The trained side network gives every sample what its
difference would be on average, and thereby groups samples even where single differences are random. Each source gives
several partitions; the one whose groups lie farthest apart, relative to their own size, is named by known labels,
auxiliary texts, class names and priors.
Threat model: a server that receives differences and pivots and holds the side network; it knows the kinds of defences.
Source: own derivation; label maps of clusters by enumeration: LEA, arXiv 2603.03777.

Shapes: N samples, L layers, d width, K classes, D values, C groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch.nn.functional import normalize

from ...system.errors import UsageError
from ...system.public import Public
from ...system.side_network import from_state
from ...system.view import View, finite
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.differences import JOINED, Differences, backbone_share, differences
from ..evidence.labels.codewords import decoded, group_count, named_groups
from ..evidence.labels.grouping import grouped, separation
from ..evidence.labels.mixture import fit, linear_features
from ..evidence.states import share_known

Source = Literal["both", "differences", "outputs"]
ONE_POSITIVE = 0.95
"""Least share of differences with one positive entry for which that entry is taken to stand for the class."""


@dataclass(frozen=True)
class Cluster(Attack):
    """Groups first, names after."""

    name = "cluster"
    source = "own derivation; cf. LEA, arXiv 2603.03777"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"difference", "activations", "held:tuned"}))
    attacked = frozenset({"difference", "held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = JOINED

    sources: Source = "both"
    """`differences` as they came, `outputs` of the side network, or both."""

    def __post_init__(self) -> None:
        if self.sources not in get_args(Source):
            raise UsageError(f"sources {self.sources!r} is none of {', '.join(get_args(Source))}; give one of them")

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A label (N,) for each sample that sent both kinds."""
        found = differences(view, public)
        if not found.ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        if (labels := decoded(found, public)) is not None and self.sources != "outputs":
            return LabelGuess(found.ids, labels)
        tried: list[Partition] = []
        if self.sources != "outputs":
            tried += by_differences(found.values, group_count(public))
        if self.sources != "differences":
            outputs = side_outputs(view, found)
            tried += by_outputs(outputs, linear_features(public, found.pivots), len(public.labels), generator)
            if (whole := with_share(outputs, found, public)) is not None:
                tried.append(partition(whole, len(public.labels)))
        best = max(tried, key=lambda partition: partition.separation)
        return LabelGuess(found.ids, named_groups(best.groups, public, found.ids, found.pivots))


class Partition(NamedTuple):
    """Groups and how well they are told apart."""

    groups: torch.Tensor
    """(N,) int64"""
    separation: float
    """At most 1, which means that groups are points."""


def side_outputs(view: View, found: Differences) -> torch.Tensor:
    """(N, D) what the trained side network makes of what it was trained on."""
    with torch.no_grad():
        return finite(from_state(view.held["tuned"])(found.received))


def with_share(outputs: torch.Tensor, found: Differences, public: Public) -> torch.Tensor | None:
    """Outputs (N, D) and the backbone's share, as the device adds them; None where it is not known whole."""
    if public.head is None or public.backbone is None or not share_known(public.facts):
        return None
    if len(public.head["weight"]) != outputs.shape[1]:
        return None
    return finite(outputs + backbone_share(public, found.pivots))


def by_differences(values: torch.Tensor, groups: int) -> Iterator[Partition]:
    """Partitions of differences (N, D): by their one positive entry, by where they lie, by their directions."""
    if float(((values > 0).sum(1) == 1).float().mean()) >= ONE_POSITIVE and values.shape[1] > 1:
        yield Partition(values.argmax(1), 1.0)
    for points in (values, normalize(values, dim=1)):
        yield partition(points, groups)


def by_outputs(
    outputs: torch.Tensor, features: torch.Tensor, groups: int, generator: torch.Generator
) -> Iterator[Partition]:
    """Partitions of the side network's outputs (N, D): as they are, and without the share that is linear in the pivot.

    The outputs follow the difference, and so hold the share of a secret head or code as well.
    """
    yield partition(outputs, groups)
    mixture = fit(outputs, features, groups, generator)
    yield Partition(mixture.groups, mixture.separation)


def partition(points: torch.Tensor, groups: int) -> Partition:
    """Ward's groups of points (N, D)."""
    made = grouped(points, groups)
    return Partition(made, separation(points, made))
