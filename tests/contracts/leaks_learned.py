"""Planted leaks for attacks that learn to write texts: pivots, and all positions behind a trained bottom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sidelight.attacks import ATTACKS, Attack

from .micro import Micro
from .planted import Planted, from_run, pae, split


def attack(name: str, **settings: Any) -> Attack:
    """An attack with settings, which only itself knows."""
    made: Callable[..., Attack] = ATTACKS[name]
    return made(**settings)


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "deep": lambda micro: from_run(
        micro,
        attack("deep", shadows=1, steps=10, batch=8, candidates=300),
        split(learning_rate=1e-3, bottom="trainable", cut=2),
    ),
    "inverter": lambda micro: from_run(
        micro, attack("inverter", texts=2048, steps=4, batch=32, beam=64), pae(longest=3)
    ),
}
