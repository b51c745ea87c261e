"""Texts whose positions crossed after a public block: what is computed beforehand, and the search on a view.

Shapes: B texts, T positions, n layers that crossed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from ....system.backbone import load_backbone
from ....system.codec import Precision, through
from ....system.public import Public
from ....system.view import Sequenced
from ...attack import Prepared, Studied
from .completions import parted
from .deviations import calibrate
from .matching import Known, Recovered, Search
from .ranking import fit

RANKING_TEXTS = 256
"""Auxiliary texts that the ranking is fitted on."""
TEXTS = 16
"""Texts of a pass beforehand; deviations are measured on the first of them."""
STUDIES = Studied(frozenset({"backbone", "auxiliary"}), frozenset({"layers", "longest", "precision", "prompt"}))


@torch.no_grad()
def ranking(public: Public) -> Prepared:
    """The ranking's `whiten` and `table`, and `bounds` (n,) and `side_by_side` () of its passes."""
    assert public.backbone is not None
    backbone, layers = load_backbone(public.backbone), list(public.facts["layers"])
    precision = cast(Precision, public.facts["precision"])
    texts = [example.text for example in public.auxiliary[:RANKING_TEXTS]]
    batches = [
        backbone.tokens(texts[i : i + TEXTS], public.facts["longest"], public.facts["prompt"])
        for i in range(0, len(texts), TEXTS)
    ]
    deviations = calibrate(backbone, layers, batches[0], precision)
    masks = [tokens.mask.bool() for tokens in batches]
    states = [
        through(backbone.activations(tokens, layers[0])[:, :, -1][mask], precision)
        for tokens, mask in zip(batches, masks, strict=True)
    ]
    ids = torch.cat([tokens.ids[mask] for tokens, mask in zip(batches, masks, strict=True)])
    found = fit(backbone, layers[0], torch.cat(states), ids)
    return {**found, "bounds": deviations.bounds, "side_by_side": torch.tensor(deviations.side_by_side)}


def found_texts(
    sequences: Sequence[Sequenced], public: Public, prepared: Prepared, candidates: int, widest: int
) -> list[Recovered]:
    """Each sample's own tokens; so many candidates are tried at first, and at most (0: the whole vocabulary)."""
    assert public.backbone is not None
    backbone = load_backbone(public.backbone)
    tail = len(backbone.token_ids(public.facts["prompt"]))
    states = [one.activations[: len(one.activations) - tail] for one in sequences]
    known = Known(backbone, list(public.facts["layers"]), cast(Precision, public.facts["precision"]), prepared)
    rows = Search(known, candidates, widest or backbone.vocabulary).texts(states, backbone.prefix)
    return [row._replace(tokens=parted(row.tokens, backbone, public.facts).text) for row in rows]
