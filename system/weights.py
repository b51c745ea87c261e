"""Weights of few bits, as a device with little memory holds them.

`int8` and `int4` are for the linear maps of the blocks: integers in the blocks of codec.py, 64 inputs of an output
sharing a scale, which become numbers again while a map is used and not longer. Embeddings, norms, biases and the output
matrix stay in float32. `bf16` holds and computes everything in bfloat16. Whoever computes with other weights than the
device's is off by the rounding: attacks that compare states exactly lose that (the attacker has to load the backbone
with the device's weights; the fact `weights` is public).
Source: own choice of the plainest scheme, as in rounding.py; blocks of 64 as in QLoRA (arXiv 2305.14314, section 3).

Shapes: n inputs and m outputs of a map, b = ceil(n / 64).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from .codec import BLOCK, LARGEST, quantise
from .errors import UsageError

Weights = Literal["fp32", "bf16", "int8", "int4"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)


def require_known(weights: str) -> Weights:
    """Weights of a kind that there is; raises UsageError."""
    for known in WEIGHTS:
        if weights == known:
            return known
    raise UsageError(f"weights {weights!r} are none of {', '.join(WEIGHTS)}; give one of them")


class Packed(nn.Module):
    """A linear map whose matrix takes a byte, or half of one, a value, and two for the scale of each 64."""

    values: torch.Tensor
    """(m, n) int8; of 4 bits two to a byte, (m, ceil(n / 2)) uint8"""
    scales: torch.Tensor
    """(m, b) float16"""

    def __init__(self, weight: torch.Tensor, bias: nn.Parameter | None, weights: Weights) -> None:
        super().__init__()
        self._inputs, self._halves = weight.shape[1], weights == "int4"
        whole, scales = quantise(weight, LARGEST[weights])
        self.register_buffer("values", _paired(whole.to(torch.int8)) if self._halves else whole.to(torch.int8))
        self.register_buffer("scales", scales)
        self.bias = bias

    def matrix(self) -> torch.Tensor:
        """The matrix (m, n) in float32."""
        whole = _parted(self.values)[:, : self._inputs] if self._halves else self.values
        spread = self.scales.float().repeat_interleave(BLOCK, 1)[:, : self._inputs]
        return spread.mul_(whole)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(..., n) to (..., m)."""
        return linear(states, self.matrix(), self.bias)


def pack_maps(model: nn.Module, blocks: Iterable[nn.Module], weights: Weights) -> None:
    """Exchange the linear maps of a model's blocks for packed ones, in place."""
    for block in blocks:
        for parent in list(block.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear | Conv1D):
                    setattr(parent, name, _packed(child, weights))
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # they are parts of one mapped file, which would stay in memory


def _packed(module: Any, weights: Weights) -> Packed:
    # transformers' Conv1D stores its matrix the other way round
    matrix = module.weight.data if isinstance(module, nn.Linear) else module.weight.data.T.contiguous()
    return Packed(matrix, module.bias, weights)


def _paired(whole: torch.Tensor) -> torch.Tensor:
    """Integers from -8 to 7 (m, n), two to a byte, the first in the lower half: (m, ceil(n / 2))."""
    even = nn.functional.pad(whole, (0, whole.shape[1] % 2)).view(torch.uint8) & 15
    return even[:, ::2] | even[:, 1::2] << 4


def _parted(pairs: torch.Tensor) -> torch.Tensor:
    """The same integers (m, 2 ceil(n / 2)) int8."""
    signed = pairs.view(torch.int8)
    # shifted up and down again, a half takes its sign with it
    return torch.stack([(signed << 4) >> 4, signed >> 4], 2).flatten(1)
