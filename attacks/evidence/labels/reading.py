"""Class shares of activations without a single label: what they say about the class names.

The names are read through the public backbone in plain sentences, and each class starts at its name; samples and
classes are then fitted to each other in turn, as in a mixture with a shared covariance.
Source: zero-shot classification by label names, Chang et al. (AAAI 2008) and Meng et al. (arXiv 2010.07245).

Shapes: N samples, L layers that crossed, d width, F features, K classes.
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from ....system.public import Public
from ..states import class_name_states, features
from .naming import verbalised, whitener

SHARPNESS = 20.0
"""Nats between a cosine of 0 and one of 1, for a single sample."""
SAID = 0.03
"""Cosine that one standard deviation of the verbaliser's scores is worth, for a single sample."""
BALANCING = 30
"""Steps that bring classes to their priors."""


@torch.no_grad()
def by_names(states: torch.Tensor, public: Public, passes: int = 8) -> torch.Tensor:
    """Class shares (N, K) of states (N, L, d), from the names and, where they are known, the priors."""
    rows, names = features(states), features(class_name_states(public))
    spread = rows.std(0, correction=0)
    spread = torch.where(spread > 0, spread, torch.inf)
    rows, names = (rows - rows.mean(0)) / spread, (names - names.mean(0)) / spread
    said = verbalised(states, public)
    bonus = torch.zeros(len(rows), len(names)) if said is None else SAID * said
    damping = 1 / (1 + names.std(0, correction=0))
    shares = shared(normalize(rows * damping) @ normalize(names * damping).T + bonus, public.priors)
    for _ in range(passes - 1):
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
