"""Updates of all blocks under the whole model's names: what a part below and one above any cut are joined to.

A part above a cut counts its blocks from 0, and so does the whole; `head` and `bias` stand above every cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

State = Mapping[str, torch.Tensor]
BLOCK = re.compile(r"\.(\d+)\.")
"""A block's number: the first in a tensor's name."""


def joined(bottom: State, top: State, cut: int) -> dict[str, torch.Tensor]:
    """The updates of a bottom of `cut` blocks and of the top above it, by the whole model's names."""
    return {**bottom, **{_moved(name, cut): tensor for name, tensor in top.items()}}


def below(whole: State, cut: int) -> dict[str, torch.Tensor]:
    """A bottom's part of the updates of all blocks, by the bottom's names."""
    return {name: tensor for name, tensor in whole.items() if _is_below(name, cut)}


def above(whole: State, cut: int) -> dict[str, torch.Tensor]:
    """A top's part of the updates of all blocks, with the head, by the top's names."""
    return {_moved(name, -cut): tensor for name, tensor in whole.items() if not _is_below(name, cut)}


def blocks_of(state: State) -> int:
    """Blocks that updates span."""
    return len({found[1] for name in state if (found := BLOCK.search(name))})


def _is_below(name: str, cut: int) -> bool:
    found = BLOCK.search(name)
    return found is not None and int(found[1]) < cut


def _moved(name: str, by: int) -> str:
    return BLOCK.sub(lambda found: f".{int(found[1]) + by}.", name, count=1)
