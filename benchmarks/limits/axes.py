"""What grows, over which sizes, and what is measured of it: time, and memory in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ...system.backbone import load_backbone
from . import device_costs, server_costs
from .server_costs import SHAPE

SAMPLES = (100, 1_000, 10_000, 30_000, 100_000)
MANY = 10_000
"""From here on, what is done once is small beside what is done for each sample."""
LAYERS, WIDTHS, CLASSES = (3, 6, 12, 24), (96, 192, 384, 768), (2, 20, 77, 150)
LENGTHS, DEVICES = (16, 64, 256, 512), (1, 4, 16)
BYTES = "bytes"
Costs = Callable[[int], Mapping[str, float]]
"""By name, what a size costs."""


@dataclass(frozen=True)
class Axis:
    """What grows, over which sizes, and what it costs."""

    name: str
    sizes: Sequence[int]
    costs: Costs
    unit: str = "processor seconds"


def axes(reference: str) -> list[Axis]:
    """All of them, samples first."""
    backbone, deep = load_backbone(reference), replace(SHAPE, width=192)
    return [
        Axis("samples", SAMPLES, server_costs.of_samples),
        Axis("samples", SAMPLES, lambda size: server_costs.memory(SHAPE, size), BYTES),
        Axis("layers", LAYERS, lambda size: server_costs.step(replace(deep, layers=size))),
        Axis("layers", LAYERS, lambda size: server_costs.memory(replace(deep, layers=size)), BYTES),
        Axis("width", WIDTHS, lambda size: server_costs.step(replace(SHAPE, width=size))),
        Axis("width", WIDTHS, lambda size: server_costs.memory(replace(SHAPE, width=size)), BYTES),
        Axis("classes", CLASSES, lambda size: server_costs.step(replace(SHAPE, outputs=size))),
        Axis("classes", CLASSES, lambda size: server_costs.memory(replace(SHAPE, outputs=size)), BYTES),
        Axis("tokens of a text", LENGTHS, partial(device_costs.passed, backbone)),
        Axis("tokens of a text", LENGTHS, partial(device_costs.memory, backbone), BYTES),
        Axis("devices", DEVICES, partial(server_costs.of_devices, backbone)),
        Axis("devices", DEVICES, partial(server_costs.memory_of_devices, backbone), BYTES),
    ]
