"""A copy of the tuned model where activations cannot be computed as they cross: the attacker starts from a relative.

The held side network reads states of a private backbone, or of a public one behind secret rotations. The attacker asks
it with states of its own: those of a public relative, brought to where the received ones lie. Behind rotations they are
turned as whole distributions are (evidence/labels/unrotating.py), guided by what the differences give away of the
backbone's output; a backbone that was tuned or rounded a little has moved its states mostly by a constant, so that
their mean is moved there, in so far as it is told from chance. The share that the device adds comes of the public head,
or is estimated from the differences as `head` does.

What it does not do: learning the maps from auxiliary labels, through the frozen side network, was tried and made the
copy worse, since labels of other texts say less of the maps than the relative itself does.

Threat model: a server that knows a public relative of the backbone, or the backbone and not the rotations; it receives
pivots and differences, holds the side network, and knows texts of the kind that the victim's are: the queries.
Source: own derivation, in the manner of a pseudo-client, PCAT (Gao and Zhang, USENIX Security 2023); shrunk means:
James and Stein 1961.

Shapes: N samples, Q queries, L layers, d width, D values of a difference, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import one_hot

from ...system.backbone import Backbone, load_backbone
from ...system.errors import UsageError
from ...system.heads import scores
from ...system.public import Public
from ...system.side_network import from_state
from ...system.view import View
from ..attack import Attack, Goal, Needs, Prepared, StolenModel
from ..evidence.differences import Differences, class_scores, differences, share_of, undone
from ..evidence.labels.mixture import linear_features
from ..evidence.labels.regressing import hidden, regressed
from ..evidence.labels.secret_heads import one_positive
from ..evidence.labels.secret_shares import estimated
from ..evidence.labels.unrotating import Seen, rotations
from ..evidence.rebuilt import stolen
from ..evidence.states import PLAIN, ROTATED, as_sent, block_states, form_of

LEAST = 1e-6


@dataclass(frozen=True)
class Distil(Attack):
    """The held side network, asked with a relative's states."""

    name = "distil"
    source = "own derivation; cf. PCAT, USENIX Security 2023"
    goal = Goal.MODEL
    needs = Needs(
        view=frozenset({"difference", "activations", "held:tuned"}), public=frozenset({"queries", "relative"})
    )
    attacked = frozenset({"activations", "difference", "held:tuned"})
    assumes: ClassVar[Mapping[str, tuple[str, ...]]] = {"activations": (PLAIN, ROTATED), "fusion": ("additive",)}

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> StolenModel:
        """Class scores (Q, K) of the copy on the queries."""
        assert public.relative is not None
        relative, found = load_backbone(public.relative), differences(view, public)
        check_fits(relative, found, public)
        states = states_by(relative, public)
        known = share_by(relative, states, public)
        moved = states[:, [layer - 1 for layer in public.facts["layers"]]]
        if found.ids:
            moved = brought(moved, found, known, public, generator)
        outputs = undone(from_state(view.held["tuned"])(as_sent(moved, public)), public)
        if known is not None or not found.ids:
            return stolen(public, class_scores(public, outputs, known))
        share = estimated(found, public, generator)
        return stolen(public, share.scores(linear_features(public, moved), outputs))


def check_fits(relative: Backbone, found: Differences, public: Public) -> None:
    """Raises UsageError for a relative whose states cannot stand for those that crossed."""
    blocks, deepest = len(relative.blocks), max(public.facts["layers"])
    if blocks < deepest:
        raise UsageError(f"{relative.name} has {blocks} blocks and layer {deepest} crossed; give another relative")
    if found.ids and found.pivots.shape[2] != relative.width:
        raise UsageError(f"{relative.name} is {relative.width} wide and states are not; give another relative")


def states_by(relative: Backbone, public: Public) -> torch.Tensor:
    """States (Q, blocks, d) of the queries after every block of the relative."""
    found = block_states(relative, [query.text for query in public.queries], form_of(public.facts))
    return found[:, :, 0]


def share_by(relative: Backbone, states: torch.Tensor, public: Public) -> torch.Tensor | None:
    """The backbone's scores (Q, K) of the queries, where backbone and head are public and the difference is as it was.

    None elsewhere: the share is then estimated.
    """
    secret = hidden(public) or ("scale" in public.facts.get("defences", {}) and public.keys is None)
    if public.head is None or public.backbone is None or secret:
        return None
    return scores(public.head["weight"], relative, states[:, -1])


def brought(
    states: torch.Tensor, found: Differences, known: torch.Tensor | None, public: Public, generator: torch.Generator
) -> torch.Tensor:
    """States (Q, L, d) of the queries where those received lie; `known` are the backbone's scores (Q, K) of them."""
    if public.facts["activations"] == ROTATED and public.keys is None:
        seen = None if known is None else Seen(taken(found, public, generator), logged(share_of(public, known), public))
        turns = rotations(found.pivots, states, seen)  # received times them lie as the relative's do
        states = torch.einsum("qld,led->qle", states, turns)
    return states + shift(states, found.pivots)


def taken(found: Differences, public: Public, generator: torch.Generator) -> torch.Tensor:
    """What the backbone's share was of each difference (N, D), by the labels that differences give away."""
    labels = found.values.argmax(1) if one_positive(found.values) else regressed(found, public, generator).labels
    height = public.facts["scale"] if public.facts["difference"] == "logit" else 1.0
    return logged(height * one_hot(labels, found.values.shape[1]) - found.values, public)


def logged(share: torch.Tensor, public: Public) -> torch.Tensor:
    """Logarithms of probabilities; logits as they are."""
    return share if public.facts["difference"] == "logit" else share.clamp_min(LEAST).log()


def shift(states: torch.Tensor, received: torch.Tensor) -> torch.Tensor:
    """(L, d) from the mean of states (Q, L, d) to that of those received (N, L, d), shrunk by what chance makes."""
    apart = received.mean(0) - states.mean(0)
    chance = wavering(states, received) + wavering(received, states)
    kept = (1 - chance / apart.square().sum(1).clamp_min(1e-30)).clamp_min(0)
    return kept.unsqueeze(1) * apart


def wavering(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(L,) the variance of the mean of rows (N, L, d); a single row is taken to vary as others do."""
    varying = rows if len(rows) > 1 else others
    spread: torch.Tensor = varying.var(0, correction=min(1, len(varying) - 1)).sum(1)
    return spread / len(rows)
