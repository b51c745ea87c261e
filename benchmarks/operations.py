"""Floating-point operations: torch's counter, with the attention that it does not know on processors.

Shapes: B texts, H heads, T positions, e width of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

Shape = tuple[int, ...]


def counter() -> FlopCounterMode:
    """Counts matrix products and attention, forwards and backwards, while it is entered."""
    aten = torch.ops.aten
    mapping: dict[Any, Any] = {
        aten._scaled_dot_product_flash_attention_for_cpu: _forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
    }
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _forward(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Of queries, keys and values, each (B, H, T, e)."""
    return int(sdpa_flop_count(query, key, value))


def _backward(gradient: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))
