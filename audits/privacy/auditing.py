"""The promises of a run, each beside what an audit of it finds.

Audits draw from streams of their own, and send canaries through devices and servers of their own, which are made as
those of the run are: nothing of the run changes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...system.protocols import Protocol, Scene
from ...system.protocols.pae import PAE
from ...system.protocols.pae_device import PAEDevice
from ...system.randomness import Streams
from .canaries import device_of, one_sample
from .found import Found
from .local import audit_example, audit_label, audit_labels_in_clear
from .one_run import audit_released
from .promises import LABEL, PROMISES, RELEASED, Promise


def audited(protocol: Protocol, scene: Scene, releases: int, streams: Streams) -> dict[str, Any]:
    """By the name of each promise its budget with the audit's finding; None where nothing is promised."""
    promised = [Promise(name, protocol, scene, releases) for name in PROMISES]
    return {one.name: one.budget and _beside(one, streams.of(one.name)) for one in promised}


def _beside(promise: Promise, streams: Streams) -> dict[str, Any]:
    assert promise.budget is not None
    found = audit(promise, streams) if len(promise.scene.labels) > 1 else None
    return {**asdict(promise.budget), "audit": found and asdict(found)}


def audit(promise: Promise, streams: Streams) -> Found | None:
    """What an audit of one promise finds; None where no auditor knows the protocol's devices or its server."""
    protocol, scene = promise.protocol, promise.scene
    if promise.name == RELEASED:
        return audit_released(protocol, scene, streams) if isinstance(protocol, PAE) else None
    if isinstance(device_of(protocol, scene, one_sample(scene), streams), PAEDevice):
        return (audit_label if promise.name == LABEL else audit_example)(promise, streams)
    return audit_labels_in_clear(promise, streams) if promise.name == LABEL else None
