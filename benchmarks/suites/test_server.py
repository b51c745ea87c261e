"""A step of the server on a batch of 64 samples at hand, kept at fp16, by shape and bottleneck; 20 outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sidelight.system.protocols.side_training import SideTraining, regress
from sidelight.system.side_network import SideNetwork, SideShape


@pytest.mark.benchmark(group="server step, 64 samples")
@pytest.mark.parametrize("bottleneck", [16, 192])
@pytest.mark.parametrize(("layers", "width"), [(6, 192), (12, 768)])
def test_step(benchmark: Any, layers: int, width: int, bottleneck: int, generator: torch.Generator) -> None:
    training = SideTraining(bottleneck=bottleneck)
    side = SideNetwork(SideShape(layers, width, bottleneck, 20), generator)
    optimizer = training.optimizer(side)
    rows, goals = (torch.randn(64, *shape, generator=generator) for shape in ((layers, width), (20,)))
    benchmark(regress, side, optimizer, training, 0, rows.half(), goals, generator)
