"""A run's devices at work, and what their tuned model then says: once, or again from other seeds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from ...system.data import Sample, Split
from ...system.message import Party
from ...system.protocols import Protocol, Scene, interleave
from ...system.roles import Device, Role
from ...system.wire import Wire
from ..statistics import exact_count, information
from .adversary import Adversary


def work(roles: Mapping[Party, Role], wire: Wire) -> float:
    """Run every device's work; CPU seconds, without those of other parties and of the recording."""
    began = time.process_time()
    interleave([role for role in roles.values() if isinstance(role, Device)], wire)
    others = sum(wire.served[party] for party, role in roles.items() if not isinstance(role, Device))
    return time.process_time() - began - others - wire.listened


def retrained(
    protocol: Protocol, scene: Scene, adversary: Adversary, parts: Split, outputs: torch.Tensor
) -> dict[str, Any]:
    """How often a victim that is trained again on the same rows agrees with the first one's outputs (queries, classes).

    Initialisation, order, keys and noise are drawn anew: what a copy of the model by its data and recipe alone reaches.
    """
    other = replace(scene, streams=scene.streams.of("retrained"))
    roles = protocol.roles(other)
    work(roles, Wire(roles, lambda message: None))
    found = predictions(roles[adversary.devices[0]], parts.victim_test)
    return exact_count("agreement", (found.argmax(1) == outputs.argmax(1)).tolist())


def predictions(device: Role, samples: Sequence[Sample]) -> torch.Tensor:
    """The tuned model's class scores (samples, classes)."""
    assert isinstance(device, Device)
    return device.predict([sample.text for sample in samples])


def held_labels(device: Role, rows: Sequence[Sample], labels: Sequence[str]) -> dict[str, Any]:
    """What a device reads, with its keys, off what the server trained and the activations, of the very rows."""
    said = predictions(device, rows).argmax(1)
    truth = torch.tensor([labels.index(sample.label) for sample in rows])
    counts = torch.bincount(truth, minlength=len(labels)).tolist()
    return information((said == truth).double().numpy(), counts)._asdict()
