"""Messages to bytes and back, at every precision: 16 samples of 12 layers of width 768."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sidelight.system.codec import PRECISIONS, Precision
from sidelight.system.message import Message, decode, encode
from sidelight.system.roles import DEVICE, SERVER


def message(precision: Precision, generator: torch.Generator) -> Message:
    rows = torch.randn(16, 12, 768, generator=generator)
    ids = tuple(f"{at:016x}" for at in range(16))
    return Message("activations", DEVICE, SERVER, 0, 0, ids, {"activations": rows}, precision)


@pytest.mark.benchmark(group="encode 16 x 12 x 768")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_encode(benchmark: Any, precision: Precision, generator: torch.Generator) -> None:
    benchmark(encode, message(precision, generator))


@pytest.mark.benchmark(group="decode 16 x 12 x 768")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_decode(benchmark: Any, precision: Precision, generator: torch.Generator) -> None:
    benchmark(decode, encode(message(precision, generator)))
