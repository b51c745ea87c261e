"""Which parts of a run other people's packages brought: whose code made its numbers."""

from __future__ import annotations

from collections.abc import Iterable

from ...system.defences import DEFENCES, Defence
from ...system.protocols import PROTOCOLS, Protocol


def plugged(parts: Iterable[Protocol | Defence]) -> dict[str, str]:
    """Protocols and defences that other people's packages brought, each with its package and version."""
    return {
        called: origin
        for one in parts
        for called, origin in (PROTOCOLS if isinstance(one, Protocol) else DEFENCES).origins([one.name]).items()
    }
