"""Reference texts: what an attacker that knows no victim's text takes people to write, and how pivots tell a length.

Shapes: M texts, T tokens of the longest, F features, k directions.
"""

from __future__ import annotations

import torch

from ...system.backbone import Backbone
from ...system.codec import through
from ...system.public import Public
from ...system.selector import select
from .states import Form, form_of

TEXTS = 512
A_LENGTH = 128
"""Reference texts of every length."""
LAYERS = 2
"""Of what crosses, the first layers: in them places weigh most."""
CHUNK = 256
SHRINK = 1e-3


@torch.no_grad()
def reference_texts(backbone: Backbone, public: Public, generator: torch.Generator) -> torch.Tensor:
    """Tokens (M, T) of auxiliary texts joined end to end; without such texts, of what the backbone writes."""
    longest = int(public.facts["longest"])
    if not public.auxiliary:
        return _drawn(backbone, longest, generator)
    order = torch.randperm(len(public.auxiliary), generator=generator).tolist()
    stream = [token for i in order for token in backbone.token_ids(public.auxiliary[i].text)]
    starts = torch.randint(len(stream), (TEXTS,), generator=generator).tolist()
    return torch.tensor([[stream[(start + i) % len(stream)] for i in range(longest)] for start in starts])


def _drawn(backbone: Backbone, longest: int, generator: torch.Generator) -> torch.Tensor:
    opening = backbone.prefix or [0]
    rows = torch.tensor([opening] * TEXTS)
    for _ in range(longest):
        chances = backbone.model(input_ids=rows).logits[:, -1].softmax(1)
        rows = torch.cat([rows, torch.multinomial(chances, 1, generator=generator)], 1)
    return rows[:, len(opening) :]


@torch.no_grad()
def pivots_of(backbone: Backbone, texts: torch.Tensor, form: Form, layers: int) -> torch.Tensor:
    """What would cross of the first layers of texts (M, n) of one length: (M, layers, d)."""
    tail = backbone.token_ids(form.prompt) if form.prompt else []
    around = [torch.tensor(part, dtype=torch.int64).expand(len(texts), -1) for part in (backbone.prefix, tail)]
    ids = torch.cat([around[0], texts, around[1]], 1)
    parts = [backbone.pad(part.tolist()) for part in ids.split(CHUNK)]
    found = torch.cat([select(backbone.activations(part, layers), part.mask, form.selector) for part in parts])
    return through(found, form.precision)


def lengths_of(
    backbone: Backbone, public: Public, texts: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """A linear discriminant of the number of tokens: `means` (T, k) of the lengths and `whitener` (F, k)."""
    form, rows, middles = form_of(public.facts), [], []
    for length in range(1, texts.shape[1] + 1):
        drawn = texts[torch.randint(len(texts), (A_LENGTH,), generator=generator), :length]
        found = pivots_of(backbone, drawn, form, min(LAYERS, len(backbone.blocks))).flatten(1)
        middles.append(found.mean(0))
        rows.append(found - middles[-1])
    spread = torch.cat(rows)
    covariance = spread.T @ spread / len(spread)
    values, vectors = torch.linalg.eigh(covariance)
    whitener = vectors * (values.clamp(min=0) + SHRINK * values.mean()).rsqrt()
    return {"means": torch.stack(middles) @ whitener, "whitener": whitener}


def read_lengths(states: torch.Tensor, means: torch.Tensor, whitener: torch.Tensor) -> torch.Tensor:
    """Lengths by likelihood, the best first, of states (N, L, d): (N, T)."""
    found = states[:, :LAYERS].flatten(1) @ whitener
    return torch.cdist(found, means).argsort(1) + 1
