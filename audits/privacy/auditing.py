"""The promises of a run, each beside what an audit of it finds.

Audits draw from streams of their own, and send canaries through devices and servers of their own, which are made as
those of the run are: nothing of the run changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...system.defences.defence import Budget
from ...system.protocols import Protocol, Scene
from ...system.protocols.pae import PAE
from ...system.randomness import Streams
from .found import Found
from .local import audit_example, audit_label, audit_targets
from .one_run import audit_released


def audited(protocol: Protocol, scene: Scene, releases: int, streams: Streams) -> dict[str, Any]:
    """By the name of each promise its budget with the audit's finding; None where nothing is promised."""
    promised = {
        "budget": protocol.budget(scene, releases),
        "example_budget": protocol.example_budget(scene, releases),
        "released_budget": protocol.released_budget(scene),
    }
    return {name: budget and _beside(name, budget, protocol, scene, streams) for name, budget in promised.items()}


def _beside(name: str, budget: Budget, protocol: Protocol, scene: Scene, streams: Streams) -> Mapping[str, Any]:
    found = audit(name, budget, protocol, scene, streams.of(name)) if len(scene.labels) > 1 else None
    return {**asdict(budget), "audit": found and asdict(found)}


def audit(name: str, budget: Budget, protocol: Protocol, scene: Scene, streams: Streams) -> Found:
    """What an audit of one promise finds."""
    if name == "budget" and not isinstance(protocol, PAE):
        return audit_targets(protocol, scene, budget, streams)
    assert isinstance(protocol, PAE)
    if name == "budget":
        return audit_label(protocol, scene, budget, streams)
    if name == "example_budget":
        return audit_example(protocol, scene, budget, streams)
    return audit_released(protocol, scene, streams)
