"""How good a tuned model is on rows that were held out, and the summary of a tuning.

Shapes: N held-out rows, K classes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from scipy.stats import binomtest

from ..errors import UsageError
from ..forward import over_texts
from ..heads import scores, verbaliser
from ..language import class_likelihoods
from ..protocols.pae_lm import PAELMDevice
from ..protocols.tuned import Pivots
from ..roles import Device
from ..side_network import SideNetwork, shape_of
from .account import Costs
from .order import Prepared

LIBRARIES = ("sidelight", "torch", "transformers", "numpy", "safetensors")
SCHEMA = 1


@dataclass(frozen=True)
class Share:
    """How often a model is right, with the exact interval of 95 % (Clopper and Pearson 1934)."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Outcome:
    """On the rows held out."""

    accuracy: Share
    untuned: Share | None
    """Of the backbone alone, which reads the classes' names; None where it has no matrix of words to read them by."""
    majority: float
    """Of who always says the class that is most frequent among the rows trained on."""


def outcome(ready: Prepared, device: Device) -> Outcome:
    """Measure a device's model."""
    truth = ready.scene.targets(ready.held_out)
    texts = [sample.text for sample in ready.held_out]
    usual, _ = Counter(sample.label for sample in ready.samples).most_common(1)[0]
    majority = sum(sample.label == usual for sample in ready.held_out) / len(truth)
    return Outcome(share(device.predict(texts), truth), _untuned(ready, device, texts, truth), majority)


def share(found: torch.Tensor, truth: torch.Tensor) -> Share:
    """How often the largest of class scores (N, K) is the truth's (N,)."""
    hits = int((found.argmax(1) == truth).sum())
    ends = binomtest(hits, len(truth)).proportion_ci(0.95, method="exact")
    return Share(hits / len(truth), float(ends.low), float(ends.high), len(truth))


@torch.no_grad()
def _untuned(ready: Prepared, device: Device, texts: list[str], truth: torch.Tensor) -> Share | None:
    backbone, protocol = ready.scene.backbone, ready.protocol
    if isinstance(device, PAELMDevice):
        before = SideNetwork(shape_of(device.side.state_dict()), torch.Generator())  # its outputs are all zero
        labels = ready.scene.labels
        return share(class_likelihoods(backbone, before, texts, protocol.longest, protocol.prompt, labels), truth)
    try:
        head = verbaliser(backbone, ready.scene.labels)
    except UsageError:
        return None
    pivots = Pivots(protocol.longest, protocol.prompt, protocol.selector)
    return share(over_texts(lambda some: scores(head, backbone, pivots.of(backbone, some)[:, -1]), texts), truth)


def summary(ready: Prepared, found: Outcome, costs: Costs, exported: bool) -> dict[str, Any]:
    """What may be told of a tuning: no text, no row's label, no key and no seed."""
    identity = ready.identity
    return {
        "schema": SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "protocol": identity["protocol"],
        "settings": identity["settings"],
        "defences": identity["defences"],
        "backbone": {"name": ready.scene.backbone.name, "digest": identity["backbone"], "weights": identity["weights"]},
        "data": identity["data"],
        "notices": ready.notices,
        "samples": len(ready.samples),
        "classes": len(ready.scene.labels),
        "epochs": ready.epochs,
        "exported": exported,
        **asdict(found),
        **asdict(costs),
        "versions": {name: version(name) for name in LIBRARIES},
    }
