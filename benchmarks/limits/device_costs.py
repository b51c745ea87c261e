"""What a pass over texts costs a device, by their length."""

from __future__ import annotations

from functools import partial

import torch

from ...system.backbone import Backbone, Tokens
from ..apart import forked
from ..memory.resident import mark, peak, resident
from ..timing import best

TEXTS, SHORT = 4, 2


def tokens_of(backbone: Backbone, length: int, texts: int = TEXTS) -> Tokens:
    """Random ones, all texts as long."""
    generator = torch.Generator().manual_seed(0)
    return backbone.pad(torch.randint(10, backbone.vocabulary, (texts, length), generator=generator).tolist())


@torch.no_grad()
def passed(backbone: Backbone, length: int) -> dict[str, float]:
    """Seconds."""
    tokens = tokens_of(backbone, length)
    return {"device: a pass": best(lambda: backbone.pivots(tokens, "last"), 3)}


def memory(backbone: Backbone, length: int) -> dict[str, float]:
    """The most that a pass holds beside the weights, in a process of its own."""
    return {"device: memory of a pass": forked(partial(_held, backbone, length))["bytes"]}


@torch.no_grad()
def _held(backbone: Backbone, length: int) -> dict[str, float]:
    tokens = tokens_of(backbone, length, 8 * TEXTS)
    backbone.pivots(tokens_of(backbone, SHORT), "last")  # what libraries take when they are first needed is not counted
    before = resident()
    mark()
    backbone.pivots(tokens, "last")
    return {"bytes": float(peak() - before)}
