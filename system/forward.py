"""Forward passes of a transformers model up to the last block that is asked for, and what is taken of each on the way.

Shapes: B texts, T positions, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import nn


class Tokens(NamedTuple):
    """Right-padded token ids of a batch of texts, each (B, T) int64; the mask is 1 where a token stands."""

    ids: torch.Tensor
    mask: torch.Tensor


CHUNK = 64
"""Texts that one pass takes where nothing is trained."""


class Stop(Exception):
    """Ends a forward pass after the last block that is asked for."""


def run(model: Any, tokens: Tokens, cache: Any = None, places: torch.Tensor | None = None) -> Any:
    """A forward pass: the model's output, or None where a hook stopped it.

    `places` (B, T) are positions where they do not follow the mask. A cache is for causal models alone.
    """
    named: dict[str, Any] = {} if places is None else {"position_ids": places}
    if cache is not None:
        named["past_key_values"] = cache
    with suppress(Stop):
        return model(input_ids=tokens.ids, attention_mask=tokens.mask, use_cache=cache is not None, **named)


def over_texts(model: Callable[[list[str]], torch.Tensor], texts: Sequence[str]) -> torch.Tensor:
    """What a model makes of texts (B, ...), CHUNK at a time, in their order.

    Those of about equal length go together: all of a pass are padded to the longest.
    """
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found: torch.Tensor | None = None
    for start in range(0, len(order), CHUNK):
        some = order[start : start + CHUNK]
        part = model([texts[at] for at in some])
        if found is None:  # filled in place: a list of parts would take as much again
            found = part.new_empty(len(texts), *part.shape[1:])
        found[some] = part
    assert found is not None
    return found


def whole(states: torch.Tensor) -> torch.Tensor:
    """Every position."""
    return states


@contextmanager
def record_blocks(
    blocks: Sequence[nn.Module], keep: Callable[[torch.Tensor], torch.Tensor] = whole
) -> Iterator[list[torch.Tensor]]:
    """Collects each block's output (B, T, d), or what is kept of it, in the next forward pass; the last one ends it."""
    taken: list[torch.Tensor] = []

    def take(_module: nn.Module, _inputs: Any, output: Any) -> None:
        taken.append(keep(output[0] if isinstance(output, tuple) else output))
        if len(taken) == len(blocks):
            raise Stop

    handles = [block.register_forward_hook(take) for block in blocks]
    try:
        yield taken
    finally:
        for handle in handles:
            handle.remove()
