"""What public settings say of groups of differences: how many there are, how many make a class, and whose they are.

Without a defence a class makes one group; each codeword of secret codes and each decoy class makes one of its own.

Shapes: N samples, L layers, d width, C groups, K classes, m codewords a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ....system.public import Public
from ..differences import Differences, backbone_share
from ..states import readable, share_known
from .grouping import discriminated, main_directions, nearest
from .naming import known_evidence, name_clusters, named_by, size_evidence, text_evidence

DIRECTIONS = 128
FOLDS = 4
ROUNDS = 2
TEMPERATURE = 2.0
LEAST = 1e-3
"""Least probability of a class: a single text says no more."""
VOICES = 3
"""Texts of a group count as so many at most."""


def group_count(public: Public) -> int:
    """C: the centres that the public settings make, one for a class, decoy class or codeword."""
    decoys = int(defence_settings(public, "decoy").get("classes", 0))
    return (len(public.labels) + decoys) * word_count(public)


def word_count(public: Public) -> int:
    """Codewords a class; 1 without codes."""
    return int(defence_settings(public, "code").get("words", 1))


def defence_settings(public: Public, name: str) -> Mapping[str, Any]:
    """The public settings of a defence; none where it does not act."""
    found: Mapping[str, Any] = public.facts.get("defences", {}).get(name, {})
    return found


def decoded(found: Differences, public: Public) -> torch.Tensor | None:
    """(N,) class of the nearest codeword to each target, where a control reveals book and head; None elsewhere."""
    shared = public.head is None or (public.backbone is not None and share_known(public.facts))
    if public.keys is None or "book" not in public.keys or not shared:
        return None
    book = public.keys["book"] * (public.facts["scale"] if public.facts["difference"] == "logit" else 1.0)
    targets = found.values
    if public.head is not None:
        targets = targets + backbone_share(public, found.pivots)
    return nearest(targets, book.flatten(0, 1)) // book.shape[1]


def known_labels(public: Public, ids: tuple[str, ...]) -> torch.Tensor:
    """(N,) the labels that the adversary knows beforehand, -1 elsewhere."""
    known = {one.id: public.labels.index(one.label) for one in public.known}
    return torch.tensor([known.get(sample_id, -1) for sample_id in ids], dtype=torch.int64)


def named_groups(groups: torch.Tensor, public: Public, ids: tuple[str, ...], states: torch.Tensor) -> torch.Tensor:
    """(N,) labels of groups (N,) with states (N, L, d): m groups to each class where there are more than classes."""
    words = word_count(public)
    if words == 1 or int(groups.max()) < len(public.labels):
        return name_clusters(groups, public, ids, states)
    evidence = known_evidence(groups, public, ids) + size_evidence(groups, public, words)
    if readable(public):
        evidence = evidence + text_evidence(groups, public, states)
    names = named_by(evidence.repeat_interleave(words, dim=1)) // words
    points = main_directions(states.flatten(1), DIRECTIONS)
    # true labels of auxiliary texts teach more than guessed ones of other groups
    for _ in range(0 if public.auxiliary else ROUNDS):
        alike = like_others(groups, names, points, len(public.labels))
        names = named_by((evidence + alike).repeat_interleave(words, dim=1)) // words
    return names[groups]


def like_others(groups: torch.Tensor, names: torch.Tensor, points: torch.Tensor, classes: int) -> torch.Tensor:
    """(C, K) how likely each class makes each group's points (N, F), as the other groups' names (C,) teach it.

    Groups of one class share its texts. A group is judged by a discriminant that never saw it.
    """
    evidence = torch.zeros(len(names), classes)
    for fold in range(FOLDS):
        judged = groups % FOLDS == fold
        if not judged.any() or judged.all():
            continue
        scores = discriminated(points, torch.where(judged, -1, names[groups]), classes)
        given = (scores[judged] / TEMPERATURE).softmax(1).clamp(min=LEAST).log()
        evidence.index_add_(0, groups[judged], given)
    sizes = torch.bincount(groups, minlength=len(names)).clamp(min=1)
    return evidence * (sizes.clamp(max=VOICES) / sizes).unsqueeze(1)
