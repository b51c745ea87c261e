"""Measures a device that keeps every position of every block, beside an honest one and plain inference; prints JSON.

A script: what a fresh interpreter holds is the same whatever ran before it.
"""

from __future__ import annotations

import json
from functools import partial

import torch

from sidelight.benchmarks.apart import forked
from sidelight.benchmarks.memory.device import measured, peaks, settings
from sidelight.system.backbone import TINY, Backbone, load_backbone

TEXTS, TOKENS = 64, 64


@torch.no_grad()
def hoarding(backbone: Backbone, count: int, tokens: int) -> None:
    """A device that takes every position of every block before it selects one."""
    longest = settings(backbone, count, tokens).longest
    kept = backbone.activations(backbone.tokens(["a word " * tokens] * count, longest))
    assert kept.shape == (count, tokens, len(backbone.blocks), backbone.width)


if __name__ == "__main__":
    found = peaks(TINY, TEXTS, TOKENS, "fp32")
    found["hoarding"] = forked(partial(measured, hoarding, TINY, TEXTS, TOKENS, "fp32"))
    tiny = load_backbone(TINY)
    print(json.dumps({**found, "all_states": TEXTS * TOKENS * len(tiny.blocks) * tiny.width * 4}))
