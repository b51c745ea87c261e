"""How a decoder of pivots learns: on texts that the attacker makes itself, from linear readings on.

Each step sees new texts, whose states the frozen backbone computes on the way, as the device would send them: with its
clip, its noise and its precision.

Memory: beside the backbone, four times a decoder (with its gradient and two moments of AdamW), ENTRIES log-odds at a
time, each several times over, and what linear readings take.

Shapes: B texts, T places, L layers that crossed, d width, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from ....system.backbone import Backbone, load_backbone
from ....system.public import Public
from ...attack import Prepared
from ...workbench import Workbench
from ..made_texts import MadeTexts
from ..resuming import moments, restored
from ..token_states import ROWS, Sender, accelerator, uncorrelated
from .decoder import padded
from .inverting import Inverter
from .linear_readings import linear_readings

DRAWN = 3072
"""Texts that the features are fitted on."""
ENTRIES = 2**23
"""Log-odds computed at a time."""
WARM = 50
"""Steps in which the rate rises."""
KEPT = 50
"""Steps between two checkpoints."""
Rows = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Lessons:
    """How long and how fast a decoder learns."""

    texts: int
    """Made texts of the linear readings."""
    steps: int
    batch: int
    rate: float

    def rate_at(self, step: int) -> float:
        """It rises at first, and then falls to zero."""
        return self.rate * min((step + 1) / WARM, 1.0) * (1 - step / self.steps)


def learnt_decoder(public: Public, lessons: Lessons, generator: torch.Generator, bench: Workbench) -> Prepared:
    """What an `Inverter` is made of; goes on from what was kept last."""
    assert public.backbone is not None
    backbone = load_backbone(public.backbone)
    backbone.model.to(accelerator())
    texts, kept = MadeTexts(backbone, public), bench.kept(generator)
    fitted = kept or _fitted(backbone, public, texts, lessons.texts, generator)
    inverter = Inverter(public, fitted, torch.Generator() if kept else generator)
    parameters = list(inverter.decoder.parameters())
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01, betas=(0.9, 0.98))
    for step in range(restored(optimizer, kept) if kept else 0, lessons.steps):
        optimizer.param_groups[0]["lr"] = lessons.rate_at(step)
        optimizer.zero_grad()
        _descend(inverter, texts.draw(lessons.batch, generator), generator)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % KEPT == 0:
            bench.keep({**inverter.state(), **moments(optimizer, step + 1)}, generator)
        bench.progress(step + 1, lessons.steps)
    return inverter.state()


def _fitted(
    backbone: Backbone, public: Public, texts: MadeTexts, count: int, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """What makes states uncorrelated, and linear readings of them."""
    sender = Sender(backbone, public)
    found = uncorrelated(sender.states(texts.draw(DRAWN, generator), generator))

    def batches() -> Iterator[tuple[Rows, torch.Tensor]]:
        for _ in range(max(1, count // ROWS)):
            rows = texts.draw(ROWS, generator)
            yield rows, (sender.states(rows, generator) - found["middle"]) @ found["whitener"]

    table = backbone.model.get_output_embeddings().weight.cpu()
    return {**found, **linear_readings(batches(), table, int(public.facts["longest"]))}


def _descend(inverter: Inverter, rows: Rows, generator: torch.Generator) -> None:
    """Add the gradient of the mean loss of a token, as many texts at a time as fit into memory."""
    whole = sum(len(row) + 1 for row in rows)
    step = max(1, ENTRIES // ((inverter.longest + 1) * inverter.backbone.vocabulary))
    for at in range(0, len(rows), step):
        (loss(inverter, rows[at : at + step], generator) / whole).backward()


def loss(inverter: Inverter, rows: Rows, generator: torch.Generator) -> torch.Tensor:
    """Nats of all tokens and ends of texts, summed, each behind the tokens that stand before it."""
    decoder, device = inverter.decoder, inverter.device
    known = decoder.conditions(inverter.features(inverter.sender.states(rows, generator)))
    ids, there = (part.to(device) for part in padded(rows))
    goals, stands = (part.to(device) for part in padded([[*row, decoder.end] for row in rows]))
    places = goals.shape[1]
    vectors = decoder(ids, known.entering[:, :places]) + known.leaving[:, :places]
    owner, place = stands.nonzero(as_tuple=True)
    said = (torch.arange(places - 1, device=device) < place.unsqueeze(1)) & there[owner]
    missing = known.bag[owner].scatter_add(1, ids[owner], -said.float())
    return cross_entropy(decoder.odds(vectors[stands], missing), goals[stands], reduction="sum")
