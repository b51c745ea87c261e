"""A backbone whose weights are rounded to a few bits, as a device with little memory holds it.

Symmetric round to nearest with one scale for each output channel: the absolute maximum over the largest integer. The
linear maps of the blocks are rounded; embeddings, norms and biases stay as they are. Nothing is secret about it.
Source: own choice of the plainest scheme; round to nearest per channel is the baseline of GPTQ (arXiv 2210.17323,
section 4).
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from .backbone import Backbone
from .errors import UsageError

FEWEST, MOST = 2, 16
"""Bits of a weight."""


@lru_cache(maxsize=2)
def rounded(backbone: Backbone, bits: int) -> Backbone:
    """The same backbone with weights that take so many different values: at most 2^bits - 1 a channel.

    Raises UsageError where they are not in float32.
    """
    if backbone.weights != "fp32":
        raise UsageError(f"the weights of {backbone.name} are {backbone.weights} already; round those of fp32")
    model = deepcopy(backbone.model)
    copy = Backbone(model, backbone.tokenizer, backbone.name, f"{backbone.digest}-{bits}-bit")
    for module in copy.blocks.modules():
        if isinstance(module, nn.Linear | Conv1D):
            # transformers' Conv1D stores its matrix the other way round
            channels = 1 if isinstance(module, nn.Linear) else 0
            module.weight.data = nearest(module.weight.data, 2 ** (bits - 1) - 1, channels)
    return copy


def nearest(weight: torch.Tensor, largest: int, along: int) -> torch.Tensor:
    """A matrix with each channel's values, which lie along a dimension, on its grid; a channel of zeros stays."""
    scale = weight.abs().amax(along, keepdim=True) / largest
    return (weight / scale.where(scale > 0, torch.ones(()))).round() * scale
