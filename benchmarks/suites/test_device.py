"""What a device does for a batch: tokens, the backbone's pass, pivots, the message's bytes."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight.benchmarks.memory.device import device, plain, samples, settings
from sidelight.system.backbone import Backbone
from sidelight.system.fusion import pivot_activations

TEXTS, TOKENS = 32, 64


@pytest.mark.benchmark(group="device, 32 texts of 64 tokens")
def test_plain_inference(benchmark: Any, backbone: Backbone) -> None:
    benchmark(plain, backbone, TEXTS, TOKENS)


@pytest.mark.benchmark(group="device, 32 texts of 64 tokens")
def test_pivots(benchmark: Any, backbone: Backbone) -> None:
    texts = [one.text for one in samples(TEXTS, TOKENS)]
    benchmark(pivot_activations, backbone, texts, settings(backbone, TEXTS, TOKENS).longest, "", "last")


@pytest.mark.benchmark(group="device, 32 texts of 64 tokens")
def test_up_to_the_bytes(benchmark: Any, backbone: Backbone) -> None:
    benchmark(device, backbone, TEXTS, TOKENS)
