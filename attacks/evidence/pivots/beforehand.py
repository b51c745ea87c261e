"""What an attacker works out before any state arrives: what people write, in which tokens, and how lengths are read.

Shapes: M reference texts, T tokens of the longest, C candidate tokens.
"""

from __future__ import annotations

import torch

from ....system.backbone import Backbone, load_backbone
from ....system.public import Public
from ...attack import Prepared
from .language import Chain, chain_of, frequencies
from .reference import readings, reference_texts, usual_lengths

ENTRIES = 2**28
"""Numbers at most of a table of all candidates at all places: with long texts or wide states there are fewer."""


def beforehand(public: Public, candidates: int, layers: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """`texts` (M, T), `candidates` (C,), the chain over them, and how lengths and last tokens are read off pivots.

    There are at most so many candidates, and as many as tables of so many layers have room for.
    """
    assert public.backbone is not None
    backbone = load_backbone(public.backbone)
    candidates = min(candidates, backbone.vocabulary, affordable(public.facts["longest"], layers * backbone.width))
    texts = reference_texts(backbone, public, generator)
    frequent = frequencies(texts, backbone.vocabulary)
    chosen = frequent.topk(candidates).indices.sort().values
    chain = chain_of(backbone, chosen, frequent)
    return {
        "texts": texts,
        "candidates": chosen,
        "lengths": usual_lengths(backbone, public),
        **readings(backbone, public, texts, generator),
        "first": chain.first,
        "following": chain.following,
        "anywhere": chain.anywhere,
    }


def affordable(longest: int, features: int) -> int:
    """How many candidates a table of so many places and features may have."""
    return max(1, ENTRIES // (longest * features))


def stored_chain(prepared: Prepared) -> Chain:
    """The chain of what was prepared."""
    return Chain(prepared["first"], prepared["following"], prepared["anywhere"])


def as_candidates(prepared: Prepared, backbone: Backbone) -> torch.Tensor:
    """The reference texts as indices of candidates (M, T); other tokens become the most frequent."""
    index = torch.full((backbone.vocabulary,), int(prepared["anywhere"].argmax()))
    index[prepared["candidates"]] = torch.arange(len(prepared["candidates"]))
    return index[prepared["texts"]]
