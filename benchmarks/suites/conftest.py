"""What is measured: the packaged backbone, and shapes of the larger one that the papers use.

    pytest benchmarks/suites --benchmark-only

Figures of one group are read against each other, in one run on one machine; none is held to a bar here.
"""

from __future__ import annotations

import pytest
import torch

from sidelight.system.backbone import TINY, Backbone, load_backbone


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return load_backbone(TINY)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
