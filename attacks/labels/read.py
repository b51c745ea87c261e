"""Labels from activations without knowing a single label: what they say about the class names.

The names are read through the public backbone in plain sentences, and each class starts at its name; samples and
classes are then fitted to each other in turn, as in a mixture with a shared covariance. Where the server holds a side
network that it trained on the samples, its outputs fall into one cluster a class, however its targets were transformed:
the clusters are then named by the activations in them, one to one, among all assignments.
Threat model: adversary (a), a server that knows the backbone, the class names and at most their frequencies. Known and
auxiliary labels are left aside even where they are there.
Source: zero-shot classification by label names, Chang et al. (AAAI 2008) and Meng et al. (arXiv 2010.07245); label map
by assignment, LEA (arXiv 2603.03777). The combination is ours.

Shapes: N samples, L layers that crossed, d width, F features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from ...system.backbone import load_backbone
from ...system.difference import fused
from ...system.errors import UsageError
from ...system.heads import scores
from ...system.public import Public
from ...system.side_network import from_state
from ...system.view import View
from ..attack import Attack, Goal, LabelGuess, Needs, Prepared
from ..evidence.grouping import grouped, separation
from ..evidence.naming import name_clusters, verbalised, whitener
from ..evidence.states import class_name_states, crossed_states, features

SHARPNESS = 20.0
"""Nats between a cosine of 0 and one of 1, for a single sample."""
SAID = 0.03
"""Cosine that one standard deviation of the verbaliser's scores is worth, for a single sample."""
APART = 0.5
"""Separation from which outputs count as clusters."""
BALANCING = 30
"""Steps that bring classes to their priors."""


@dataclass(frozen=True)
class Read(Attack):
    """Class names teach what activations say of labels."""

    name = "read"
    source = "own combination; cf. arXiv 2010.07245 and 2603.03777"
    goal = Goal.LABELS
    needs = Needs(view=frozenset({"activations"}), public=frozenset({"backbone"}))
    attacked = frozenset({"activations"})

    outputs: bool = True
    """Whether the outputs of a side network that the server holds are clustered."""
    passes: int = 8
    """How often samples and classes are fitted to each other."""

    def __post_init__(self) -> None:
        if self.passes < 1:
            raise UsageError(f"passes is {self.passes}; give at least 1")

    @torch.no_grad()
    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> LabelGuess:
        """A class for each sample whose activations crossed."""
        known = public.only(frozenset({"backbone", "priors"}), frozenset(public.facts))
        ids, states = crossed_states(view, known)
        if not ids:
            return LabelGuess((), torch.empty(0, dtype=torch.int64))
        shares = self._by_names(states, known)
        clusters = output_clusters(view, public, states) if self.outputs else None
        if clusters is None:
            return LabelGuess(ids, shares.argmax(1))
        return LabelGuess(ids, name_clusters(clusters, known, ids, states))

    def _by_names(self, states: torch.Tensor, public: Public) -> torch.Tensor:
        """Class shares (N, K) of states (N, L, d), from the names alone."""
        rows, names = features(states), features(class_name_states(public))
        spread = rows.std(0, correction=0)
        spread = torch.where(spread > 0, spread, torch.inf)
        rows, names = (rows - rows.mean(0)) / spread, (names - names.mean(0)) / spread
        said = verbalised(states, public)
        bonus = torch.zeros(len(rows), len(names)) if said is None else SAID * said
        damping = 1 / (1 + names.std(0, correction=0))
        shares = shared(normalize(rows * damping) @ normalize(names * damping).T + bonus, public.priors)
        for _ in range(self.passes - 1):
            centres = shares.T @ rows / shares.sum(0).clamp(min=1e-6).unsqueeze(1)
            whiten = whitener(rows - shares @ centres)
            middle = normalize(whiten(names)) + normalize(whiten(centres))
            shares = shared(normalize(whiten(rows)) @ middle.T / 2 + bonus, public.priors)
        return shares


def shared(likeness: torch.Tensor, priors: tuple[float, ...]) -> torch.Tensor:
    """Class shares (N, K) by likeness (N, K), with class totals as the priors say, where they are known."""
    shares = (SHARPNESS * likeness).softmax(1)
    if not priors:
        return shares
    wanted, lift = torch.tensor(priors).clamp(min=1e-4), torch.zeros(len(priors))
    for _ in range(BALANCING):
        lift = lift + (wanted / shares.mean(0).clamp(min=1e-9)).log()
        shares = (SHARPNESS * likeness + lift).softmax(1)
    return shares


def output_clusters(view: View, public: Public, states: torch.Tensor) -> torch.Tensor | None:
    """Samples (N,) grouped by what the held side network makes of pivots (N, L, d); None where they fall in no groups.

    Where the head is public, the backbone's share is added as well, and the form that falls apart better is taken.
    """
    if public.facts.get("fusion") != "additive" or "tuned" not in view.held:
        return None
    outputs = from_state(view.held["tuned"])(states).nan_to_num(0.0, 0.0, 0.0)
    forms = [outputs]
    if public.head is not None and public.backbone is not None:
        own = scores(public.head["weight"], load_backbone(public.backbone), states[:, -1])
        if own.shape == outputs.shape:
            forms.append((outputs + fused(public.facts["difference"], own)).nan_to_num(0.0, 0.0, 0.0))
    found = [(form, grouped(form, len(public.labels))) for form in forms]
    apart = [separation(form, clusters) for form, clusters in found]
    best = max(range(len(found)), key=lambda i: apart[i])
    return found[best][1] if apart[best] >= APART else None
