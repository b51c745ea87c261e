"""What an audit of a promise found."""

from __future__ import annotations

from dataclasses import dataclass

from .bounds import CONFIDENCE


@dataclass(frozen=True)
class Found:
    """A lower bound on epsilon, at the delta of what was promised."""

    epsilon_low: float
    epsilon_most: float
    """What the bound would be if every guess were right: a promise that is no smaller cannot be refuted."""
    pairs: int
    """Canaries, each with a coin of its own."""
    mu_low: float | None = None
    """Of Gaussian noise: by how many standard deviations the two outputs lie apart, at least."""
    confidence: float = CONFIDENCE
