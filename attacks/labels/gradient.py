"""Labels kept on the device, from the gradients that come back: U-shaped split learning.

The device holds head and loss. For the mean cross-entropy of a batch of B, the gradient at the head's input is
W^T (p - e_y) / B: a point near -w_y, whose direction, for two classes whose sign, tells the classes apart. Clusters of
directions are found in the first pass, before the model fits its labels, as they are and freed from what varies with
the server's own features; with a public head each label's gradient is compared instead. Clusters are named as all are:
by known or auxiliary labels, class names, priors; for two classes of known frequency also by length, since the rarer
class is the less expected one. Where clusters run into each other, as under noise, known labels complete the model: a
classifier of directions and features together, refined on all samples.
Threat model: an honest-but-curious server in the middle; head, labels and head's step are the device's.
Source: norm and direction, Li et al. (arXiv 2102.08504); model completion, Fu et al. (USENIX
Security 2022). Clusters, their names and the mixture of regressions: ours.

What crosses: kind "gradients" with the tensor "gradients" (B, d), one row a sample at the pivot; beside it, where there
are any, "activations" from the device's first blocks, and the server's own messages of kind "features" with the tensor
"features" (B, d), what it sent up for the head to read.

Shapes: N samples, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from ...system.errors import UsageError
from ...system.public import Public
from ...system.view import View, finite
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.labels.codewords import known_labels
from ..evidence.labels.grouping import grouped, separation, whitened
from ..evidence.labels.mixture import fit
from ..evidence.labels.naming import class_priors, known_evidence, named_by, size_evidence, text_evidence
from ..evidence.labels.probing import fitted
from ..evidence.states import crossed_states

ALIKE = 0.99
"""Cosine from which a public head's gradients count as those that came."""
DISTINCT = 0.6
"""Separation from which clusters of gradients are believed over a completed model."""
CLEAR = 0.8
"""Separation from which no other form is tried."""
ENOUGH = 4
"""Known labels a class from which a completed model starts from them alone, not from the clusters."""
LENGTH = 2.0
"""Nats that the longer gradients of two classes speak for the rarer one."""


@dataclass(frozen=True)
class Gradient(Attack):
    """Direction, length, and a completed model."""

    name = "gradient"
    source = "arXiv 2102.08504; Fu et al., USENIX Security 2022"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"gradients"}))
    attacked = frozenset({"gradients"})

    rounds: int = 5
    """Times that a completed model and the labels are fitted to each other."""

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise UsageError(f"rounds is {self.rounds}; give 0 or more")

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A class for each sample whose gradient came back."""
        ids, gradients = view.rows("gradients", "gradients")
        if not ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        features = sent_up(view, ids)
        if public.head is not None and features is not None:
            labels, alike = by_head(gradients, features, public.head["weight"])
            if alike >= ALIKE:
                return LabelGuess(ids, labels)
        clusters, apart = clustered(gradients, features, len(public.labels), generator)
        labels = self._named(clusters, gradients, view, public, ids)
        if public.known and features is not None and apart < DISTINCT:
            joint = torch.cat([normalize(gradients), features], 1)
            labels = completed(joint, labels, known_labels(public, ids), len(public.labels), self.rounds)
        return LabelGuess(ids, labels)

    def _named(
        self, clusters: torch.Tensor, gradients: torch.Tensor, view: View, public: Public, ids: tuple[str, ...]
    ) -> torch.Tensor:
        """Labels (N,) of clusters (N,)."""
        evidence = known_evidence(clusters, public, ids) + size_evidence(clusters, public)
        evidence += length_evidence(clusters, gradients, public)
        order, states = crossed_states(view, public) if "activations" in view.kinds else ((), torch.empty(0))
        if public.backbone is not None and set(ids) <= set(order):
            where = {sample_id: i for i, sample_id in enumerate(order)}
            evidence += text_evidence(clusters, public, states[[where[i] for i in ids]])
        return named_by(evidence)[clusters]


def sent_up(view: View, ids: tuple[str, ...]) -> torch.Tensor | None:
    """Features (N, d) that the server itself sent of samples, at first; None where it did not of all."""
    found: dict[str, torch.Tensor] = {}
    for message in view.sent:
        if message.kind == "features":
            for sample_id, row in zip(message.sample_ids, message.tensors["features"], strict=True):
                found.setdefault(sample_id, row)
    return finite(torch.stack([found[i] for i in ids])) if set(ids) <= found.keys() else None


def by_head(gradients: torch.Tensor, features: torch.Tensor, head: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Labels (N,) whose gradients under a head (K, d) point as those that came (N, d), and the median cosine."""
    if head.shape[1] != gradients.shape[1] or features.shape[1] != head.shape[1]:
        return torch.zeros(len(gradients), dtype=torch.int64), 0.0
    # in double precision: of a sample that the model fits well, p - e_y is what rounding leaves of 1 - 1
    gradients, features, head = gradients.double(), features.double(), head.double()
    cosine = likeness(gradients, (features @ head.T).softmax(1), head)
    best = cosine.max(1)
    return best.indices, float(best.values.median())


def likeness(gradients: torch.Tensor, chances: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """Cosine (N, K) between gradients (N, d) and those of each label, for chances (N, K) and a head (K, d).

    <g, W^T (p - e_k)> and |W^T (p - e_k)|^2 need no tensor of N K d entries.
    """
    expected = chances @ head
    inner = (gradients * expected).sum(1, keepdim=True) - gradients @ head.T
    size = expected.square().sum(1, keepdim=True) - 2 * expected @ head.T + head.square().sum(1)
    lengths = gradients.norm(dim=1, keepdim=True) * size.clamp(min=0).sqrt()
    cosine: torch.Tensor = inner / lengths.clamp(min=1e-30)
    return cosine


# --- clusters -------------------------------------------------------------------------------------------------


def clustered(
    gradients: torch.Tensor, features: torch.Tensor | None, classes: int, generator: torch.Generator
) -> tuple[torch.Tensor, float]:
    """Samples (N,) in at most so many clusters, in the form that falls apart best, and how far it does."""
    best, apart = torch.zeros(len(gradients), dtype=torch.int64), -1.0
    for form in forms(gradients, features, classes, generator):
        clusters = grouped(form, classes)
        found = separation(form, clusters)
        if found > apart:
            best, apart = clusters, found
        if apart >= CLEAR:
            break
    return best, apart


def forms(
    gradients: torch.Tensor, features: torch.Tensor | None, classes: int, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    """Directions, and what a shared slope on the features leaves of them; of two classes their one axis."""
    directions = normalize(gradients)
    if classes == 2:  # one line, two directions: its projection is positive for one class
        axis = torch.linalg.svd(directions, full_matrices=False).Vh[0]
        yield (directions @ axis).unsqueeze(1)
        return
    yield directions
    if features is not None and len(directions) > classes + 2:
        yield fit(directions, whitened(features), classes, generator).residuals


def length_evidence(clusters: torch.Tensor, gradients: torch.Tensor, public: Public) -> torch.Tensor:
    """(C, K): of two classes the rarer has the longer gradients; 0 for more classes, or where frequencies are equal."""
    count, classes = int(clusters.max()) + 1, len(public.labels)
    evidence = torch.zeros(count, classes)
    priors = class_priors(public)
    if count == classes == 2 and float(priors[0]) != float(priors[1]):
        lengths = [gradients[clusters == c].norm(dim=1).median() for c in range(2)]
        evidence[int(lengths[1] > lengths[0]), int(priors.argmin())] = LENGTH
    return evidence


# --- model completion -----------------------------------------------------------------------------------------


def completed(rows: torch.Tensor, labels: torch.Tensor, known: torch.Tensor, classes: int, rounds: int) -> torch.Tensor:
    """Labels (N,) by a classifier of rows (N, F) that is fitted to its own labels again and again; known ones stay.

    It starts from the known labels (N,), -1 where there is none, if they are enough, else from the labels given.
    """
    told = known >= 0
    if rounds and int(told.sum()) >= ENOUGH * classes:
        labels = fitted(rows[told], known[told], classes, rows).probabilities(rows).argmax(1)
    for _ in range(rounds):
        labels = torch.where(told, known, labels)
        labels = fitted(rows, labels, classes).probabilities(rows).argmax(1)
    return torch.where(told, known, labels)
