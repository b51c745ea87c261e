"""Learning to write texts from their states, on texts that the attacker makes itself, and what it learns in the end.

Learning starts from linear readings in closed form. Each step sees new texts, whose states the frozen backbone computes
on the way.

Memory: beside the backbone four times its size (the copy, its gradient, two moments of AdamW), the features' covariance
(at most DRAWN squared, in double precision), a linear reading of F times the vocabulary, and ENTRIES log-odds at a
time, each several times over.

Shapes: B texts, T places, P positions that stand for a text, L layers, d width, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.functional import cross_entropy

from ...system.backbone import Backbone, load_backbone
from ...system.public import Public
from ..attack import Prepared
from ..workbench import Workbench
from .decoder import Decoder, Written, padded, stored_readings
from .linear_readings import linear_readings
from .made_texts import Made, MadeTexts
from .resuming import moments, restored
from .token_states import ROWS, Sender, accelerator, uncorrelated

DRAWN = 3072
"""Texts that the features are fitted on."""
NEAR, MISSED = 16, 2
"""Tokens that a changed text may have in one place, and those that it may have in addition."""
CALIBRATED = 64
"""Made texts on which rounding is measured."""
BOUND = "bound"
"""Name of the largest relative distance of a right text's states."""
ENTRIES = 2**25
"""Log-odds computed at a time."""
WARM = 50
"""Steps in which the rate rises."""
KEPT = 50
"""Steps between two checkpoints."""
BEAMS = 256
"""Beginnings that are written on at a time."""
FEATURES, DECODER = ("middle", "whitener"), "decoder/"
"""Names of what is prepared."""
TOLD = 0.5
"""Share of the texts with a label whose label the decoder is told."""


@dataclass(frozen=True)
class Training:
    """How long and how fast a decoder is trained."""

    texts: int
    """Made texts of the linear readings."""
    steps: int
    batch: int
    rate: float


class Fit(NamedTuple):
    """A text, how far its features are, whether its states are those received, and whether no other text's are."""

    tokens: tuple[int, ...]
    distance: float
    fits: bool
    alone: bool


class Inverter:
    """The public backbone, what its states look like, and a decoder of them."""

    def __init__(self, public: Public, fitted: Mapping[str, torch.Tensor], generator: torch.Generator) -> None:
        assert public.backbone is not None
        self._device = accelerator()
        self._backbone, longest = load_backbone(public.backbone), int(public.facts["longest"])
        learned = {name.removeprefix(DECODER): t for name, t in fitted.items() if name.startswith(DECODER)}
        readings = stored_readings(learned) if learned else fitted
        self._decoder = Decoder(self._backbone, readings, longest, len(public.labels), generator)
        if learned:
            self._decoder.load_state_dict(learned)
        self._decoder.to(self._device)
        self._backbone.model.to(self._device)
        self._longest, self._bound = longest, float(fitted[BOUND])
        self._middle, self._whitener = (fitted[name].to(self._device) for name in FEATURES)
        self.sender = Sender(self._backbone, public)
        self.rows = max(1, ENTRIES // ((longest + 1) * self._backbone.vocabulary))
        """Texts of one pass of the decoder."""

    def features(self, states: torch.Tensor) -> torch.Tensor:
        """(B, F) of states (B, P L d)."""
        return (states.to(self._device) - self._middle) @ self._whitener

    def loss(self, texts: Sequence[Made], labels: torch.Tensor) -> torch.Tensor:
        """Nats of all tokens and ends of texts, summed."""
        rows = [made.tokens for made in texts]
        known = self._decoder.conditions(self.features(self.sender.states(rows)), labels.to(self._device))
        ids, there = (part.to(self._device) for part in padded(rows))
        goals, stands = padded([[*row, self._decoder.end] for row in rows])
        places, stands = goals.shape[1], stands.to(self._device)
        vectors = self._decoder(ids, known.entering[:, :places]) + known.leaving[:, :places]
        # behind each place, the tokens that stand before it are no longer missing
        owner, place = stands.nonzero(as_tuple=True)
        said = (torch.arange(places - 1, device=self._device) < place.unsqueeze(1)) & there[owner]
        missing = known.bag[owner].scatter_add(1, ids[owner], -said.float())
        odds = self._decoder.odds(vectors[stands], missing)
        return cross_entropy(odds, goals.to(self._device)[stands], reduction="sum")

    def texts(self, states: torch.Tensor, labels: torch.Tensor, beams: int) -> list[list[Written]]:
        """The likeliest texts of each row of states (B, P L d)."""
        step = max(1, BEAMS // beams)
        parts = zip(states.split(step), labels.split(step), strict=True)
        return [
            one
            for some, named in parts
            for one in self._decoder.written(self.features(some), named.to(self._device), beams)
        ]

    def nearest(self, texts: Sequence[tuple[int, ...]], received: torch.Tensor) -> Fit:
        """Of several texts the one whose states come nearest to the received ones (P L d)."""
        states = self.sender.states(texts)
        features = self.features(torch.cat([received.unsqueeze(0).to(self._device), states]))
        far = (features[1:] - features[0]).norm(dim=1)
        exact = (states.cpu() - received).norm(dim=1) / received.norm()
        best = int(far.argmin())
        fits = exact <= self._bound
        return Fit(texts[best], float(far[best]), bool(fits[best]), int(fits.sum()) == 1)

    def improved(self, text: tuple[int, ...], received: torch.Tensor, rounds: int) -> tuple[tuple[int, ...], bool]:
        """The text after changes of one token or of two neighbours' order, each towards the received states (P L d).

        Also whether the text reproduces the received states and none of its changes does.
        """
        bag = self._decoder.bag_of(self.features(received.unsqueeze(0)))[0]
        best = self.nearest([text], received)
        for _ in range(rounds):
            found = self.nearest([best.tokens, *self._changes(best.tokens, bag)], received)
            if found.distance >= best.distance:
                break
            best = found
        if not best.fits:
            return best.tokens, False
        found = self.nearest([best.tokens, *self._changes(best.tokens, bag)], received)
        return best.tokens, found.tokens == best.tokens and found.alone

    def _changes(self, text: tuple[int, ...], bag: torch.Tensor) -> list[tuple[int, ...]]:
        """Texts that differ in one token, in two neighbours' order, or by a token more or less."""
        said = torch.tensor(text, device=bag.device)
        missing = bag.scatter_add(0, said, torch.full(said.shape, -1.0, device=bag.device))
        likely = missing.topk(min(NEAR, len(missing))).indices.tolist()
        found = [(*text[:at], token, *text[at + 1 :]) for at in range(len(text)) for token in likely]
        found += [(*text[:at], text[at + 1], text[at], *text[at + 2 :]) for at in range(len(text) - 1)]
        found += [text[:at] + text[at + 1 :] for at in range(len(text)) if len(text) > 1]
        if len(text) < self._longest:
            found += [(*text[:at], token, *text[at:]) for at in range(len(text) + 1) for token in likely[:MISSED]]
        return [one for one in dict.fromkeys(found) if one != text]

    def trained(self) -> dict[str, torch.nn.Parameter]:
        """What training changes, by name; matrices that are tied appear once."""
        return dict(self._decoder.named_parameters())

    def state(self) -> dict[str, torch.Tensor]:
        """The decoder with its readings, by name."""
        return {DECODER + name: tensor.detach().cpu() for name, tensor in self._decoder.state_dict().items()}


def learnt(public: Public, training: Training, generator: torch.Generator, bench: Workbench) -> Prepared:
    """`middle`, `whitener` and the decoder; goes on from what was kept last."""
    assert public.backbone is not None
    backbone = load_backbone(public.backbone)
    backbone.model.to(accelerator())
    texts, kept = MadeTexts(backbone, public), bench.kept(generator)
    fitted = kept or _fitted(backbone, public, texts, training.texts, generator)
    inverter = Inverter(public, fitted, torch.Generator().manual_seed(0) if kept else generator)
    optimizer = torch.optim.AdamW(inverter.trained().values(), weight_decay=0.01, betas=(0.9, 0.98))
    start = restored(optimizer, kept) if kept else 0
    features = {name: fitted[name] for name in (*FEATURES, BOUND)}
    for step in range(start, training.steps):
        _step(inverter, optimizer, texts.draw(training.batch, generator), training, step, generator)
        if (step + 1) % KEPT == 0:
            bench.keep({**features, **inverter.state(), **moments(optimizer, step + 1)}, generator)
        bench.progress(step + 1, training.steps)
    return {**features, **inverter.state()}


def _fitted(
    backbone: Backbone, public: Public, texts: MadeTexts, count: int, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """What makes states uncorrelated, and linear readings of them."""
    sender = Sender(backbone, public)
    found = uncorrelated(sender.states([made.tokens for made in texts.draw(DRAWN, generator)]).cpu())

    def batches() -> Iterator[tuple[list[tuple[int, ...]], torch.Tensor]]:
        for _ in range(max(1, count // ROWS)):
            rows = [made.tokens for made in texts.draw(ROWS, generator)]
            yield rows, (sender.states(rows).cpu() - found["middle"]) @ found["whitener"]

    table = backbone.model.get_output_embeddings().weight.cpu()
    bound = {BOUND: _bound(sender, [made.tokens for made in texts.draw(CALIBRATED, generator)])}
    return {**found, **linear_readings(batches(), table, int(public.facts["longest"])), **bound}


def _bound(sender: Sender, rows: list[tuple[int, ...]]) -> torch.Tensor:
    """Texts run alone and beside others round differently: more than they differ, no right text is away."""
    together, alone = sender.states(rows).cpu(), torch.cat([sender.states([row]) for row in rows]).cpu()
    apart: torch.Tensor = ((together - alone).norm(dim=1) / alone.norm(dim=1)).max()
    return 2 * apart + 1e-6


def _step(
    inverter: Inverter,
    optimizer: torch.optim.AdamW,
    texts: Sequence[Made],
    training: Training,
    step: int,
    generator: torch.Generator,
) -> None:
    labels = torch.tensor([made.label for made in texts])
    labels[torch.rand(len(labels), generator=generator) >= TOLD] = -1
    for group in optimizer.param_groups:
        group["lr"] = training.rate * min((step + 1) / WARM, 1.0) * (1 - step / training.steps)
    optimizer.zero_grad()
    whole = sum(len(made.tokens) + 1 for made in texts)
    for part in torch.arange(len(texts)).split(inverter.rows):
        chosen = [texts[i] for i in part.tolist()]
        (inverter.loss(chosen, labels[part]) / whole).backward()
    torch.nn.utils.clip_grad_norm_(inverter.trained().values(), 1.0)
    optimizer.step()
