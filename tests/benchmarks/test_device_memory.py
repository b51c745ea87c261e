"""What a device holds at most is measured: it sees a device that keeps more than it needs."""

from __future__ import annotations

from functools import partial

import torch

from sidelight.benchmarks.apart import forked
from sidelight.benchmarks.device_memory import measured, peaks, settings
from sidelight.system.backbone import TINY, Backbone, load_backbone

TEXTS, TOKENS = 64, 64


@torch.no_grad()
def hoarding(backbone: Backbone, count: int, tokens: int) -> None:
    """A device that takes every position of every block before it selects one."""
    longest = settings(backbone, count, tokens).longest
    kept = backbone.activations(backbone.tokens(["a word " * tokens] * count, longest))
    assert kept.shape == (count, tokens, len(backbone.blocks), backbone.width)


def test_a_device_holds_no_states_of_all_positions() -> None:
    found = peaks(TINY, TEXTS, TOKENS, "fp32")
    much = forked(partial(measured, hoarding, TINY, TEXTS, TOKENS, "fp32"))
    backbone = load_backbone(TINY)
    all_states = TEXTS * TOKENS * len(backbone.blocks) * backbone.width * 4
    assert 0 < found["plain inference"]["weights"] < found["plain inference"]["peak"]
    assert much["peak"] - found["plain inference"]["peak"] > all_states / 2
    assert abs(found["device"]["peak"] - found["plain inference"]["peak"]) < all_states / 4
