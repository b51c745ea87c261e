"""A superposition: the sum of what each token adds at its place. Which tokens add up to what was received?

Beliefs in tokens, place by place, are weighed in turn by the sum and by the language. For the sum, what all other
places add is taken as normal, with the mean and covariance of the beliefs in their tokens; as beliefs settle, the
covariance shrinks, and the sum says more. So sums are taken apart that no search from token to token can: 16 tokens of
thousands in fewer dimensions than there are bits in the text.

Source: soft interference cancellation, as in turbo equalisation (Tuechler, Singer and Koetter 2002), on the problem of
sparse superposition codes (Barron and Joseph 2010); its use on attention is ours.

Shapes: n places, C candidates, F measured dimensions, K candidates kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch

NEGLIGIBLE = 1e-9
"""Belief below which a candidate adds nothing to a covariance."""
WIDE = 2
"""Steps in which all candidates are weighed; then the likeliest alone."""
STUCK = 4
"""Steps with the same tokens after which beliefs have settled."""
JITTER = 1e-6
"""Of the mean variance: what rounding of covariances may have taken from it."""

LEAST = 1e-30
"""What the language gives a token at least."""


class Expecting(Protocol):
    """What is expected of tokens before the sum is weighed."""

    def expected(self, likelihoods: torch.Tensor) -> torch.Tensor:
        """From log-likelihoods (n, C) by the sum to probabilities (n, C) of each place's token by all other places'."""


class Language(Expecting, Protocol):
    """The same, of all candidates and of some."""

    def among(self, chosen: torch.Tensor) -> Expecting:
        """The same over some candidates (n, K) of each place."""


@dataclass(frozen=True)
class Superposition:
    """What was received, and what each candidate adds."""

    effects: torch.Tensor
    """(n, C, F)"""
    received: torch.Tensor
    """(F,)"""
    noise: torch.Tensor
    """(F,) variance of what is not the sum"""

    def left(self, tokens: torch.Tensor) -> torch.Tensor:
        """What is received less the sum of tokens (n,), or of many texts' tokens (B, n): (..., F)."""
        found: torch.Tensor = self.received - self.effects[torch.arange(len(self.effects)), tokens].sum(-2)
        return found

    def distance(self, tokens: torch.Tensor) -> float:
        """Squared length of what is left of tokens (n,), in units of the noise, a dimension."""
        return float((self.left(tokens).square() / self.noise).mean())

    def beside(self, tokens: torch.Tensor) -> float:
        """The smallest such length with one other token."""
        places = torch.arange(len(tokens))
        scale = self.noise.rsqrt()
        wanted = (self.left(tokens) + self.effects[places, tokens]) * scale
        rows = zip(self.effects, wanted, strict=True)
        found = torch.stack([(goal - effects * scale).square().sum(1) for effects, goal in rows])
        found[places, tokens] = torch.inf
        return float(found.min()) / self.effects.shape[2]

    def of(self, candidates: torch.Tensor) -> Superposition:
        """With some candidates (n, K) of each place alone."""
        places = torch.arange(len(candidates)).unsqueeze(1)
        return replace(self, effects=self.effects[places, candidates])


class Decoded(NamedTuple):
    """The tokens that add up best."""

    tokens: torch.Tensor
    """(n,) candidates"""
    distance: float
    """As in `Superposition.distance`."""


class Effort(NamedTuple):
    """How far a sum is taken apart."""

    steps: int
    """Exchanges between sum and language at most."""
    kept: int
    """Candidates of a place that go on after the first steps."""


@torch.no_grad()
def decoded(mixed: Superposition, language: Language, damping: float, effort: Effort, enough: float) -> Decoded:
    """The tokens at which beliefs settle, or those that came nearest; it ends where they stay within `enough`."""
    likely: Expecting = language
    weighed, chosen = mixed, torch.arange(mixed.effects.shape[1]).expand(len(mixed.effects), -1)
    told = torch.zeros(mixed.effects.shape[:2])
    beliefs = likely.expected(told)
    best, last, same = Decoded(beliefs.argmax(1), torch.inf), beliefs.argmax(1), 0
    for step in range(effort.steps):
        if step == WIDE and told.shape[1] > effort.kept:
            chosen = beliefs.topk(effort.kept, dim=1).indices
            likely, weighed, told = language.among(chosen), mixed.of(chosen), told.gather(1, chosen)
            beliefs = _normalised(beliefs.gather(1, chosen))
        told, beliefs = exchanged(weighed, likely, told, beliefs, damping)
        tokens = chosen.gather(1, beliefs.argmax(1, keepdim=True)).squeeze(1)
        distance = mixed.distance(tokens)
        same, last = same + 1 if bool((tokens == last).all()) else 0, tokens
        if distance < best.distance:
            best = Decoded(tokens, distance)
        if (same and distance <= enough) or same >= STUCK:
            break
    return best


def exchanged(
    mixed: Superposition, language: Expecting, told: torch.Tensor, beliefs: torch.Tensor, damping: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the sum has told so far (n, C) and the beliefs (n, C) after one more exchange of it with the language."""
    told = damping * told + (1 - damping) * likelihoods(mixed, beliefs)
    return told, (told + language.expected(told).clamp(min=LEAST).log()).softmax(1)


def likelihoods(mixed: Superposition, beliefs: torch.Tensor) -> torch.Tensor:
    """Log-likelihoods (n, C) of each place's candidates, whatever stands at the others by the beliefs (n, C)."""
    means = torch.einsum("nc,ncf->nf", beliefs, mixed.effects)
    spreads = torch.stack([_covariance(*part) for part in zip(mixed.effects, means, beliefs, strict=True)]).double()
    total = spreads.sum(0) + mixed.noise.double().diag()
    left = (mixed.received - means.sum(0)).double()
    # beliefs that were too sure leave more than their covariance allows: then all are doubted
    doubt = max(1.0, float(left @ torch.linalg.solve(total, left)) / len(left))
    rows = []
    for effects, mean, spread in zip(mixed.effects, means, spreads, strict=True):
        others = (total - spread) * doubt
        others.diagonal().add_(JITTER * (1 + others.diagonal().mean()))
        rows.append(_lengths(torch.linalg.cholesky(others), left + mean.double(), effects))
    return -0.5 * torch.stack(rows)


def _lengths(root: torch.Tensor, wanted: torch.Tensor, effects: torch.Tensor) -> torch.Tensor:
    """Squared lengths (C,) of what is wanted (F,) less each effect (C, F), whitened by a root of the covariance."""
    if len(effects) < len(root):
        apart = (wanted - effects.double()).T
        left: torch.Tensor = torch.linalg.solve_triangular(root, apart, upper=False)
        return left.square().sum(0).float()
    whitener: torch.Tensor = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=root.dtype), upper=False)
    return (effects @ whitener.float().T - (whitener @ wanted).float()).square().sum(1)


def _covariance(effects: torch.Tensor, mean: torch.Tensor, beliefs: torch.Tensor) -> torch.Tensor:
    """(F, F) of one place's effects (C, F)."""
    matter = beliefs > NEGLIGIBLE
    apart = effects[matter] - mean
    return (apart * beliefs[matter].unsqueeze(1)).T @ apart


def _normalised(beliefs: torch.Tensor) -> torch.Tensor:
    return beliefs / beliefs.sum(1, keepdim=True)
