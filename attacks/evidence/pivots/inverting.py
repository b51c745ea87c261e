"""A decoder of pivots in use: what states look like to it, the texts that it writes, and the choice among them.

Shapes: B texts, L layers that crossed, d width, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ....system.backbone import load_backbone
from ....system.public import Public
from ..token_states import Sender, accelerator
from .decoder import Decoder, Written, stored_readings

BEAMS = 256
"""Beginnings that are written on at a time."""
DECODER = "decoder/"
FEATURES = ("middle", "whitener")
"""Names of what is prepared."""


class Inverter:
    """The public backbone, what its states look like, and a decoder of them."""

    def __init__(self, public: Public, fitted: Mapping[str, torch.Tensor], generator: torch.Generator) -> None:
        """`fitted`: linear readings from which a decoder starts, or a decoder as it was kept."""
        assert public.backbone is not None
        self.device = accelerator()
        self.backbone, self.longest = load_backbone(public.backbone), int(public.facts["longest"])
        learned = {name.removeprefix(DECODER): t for name, t in fitted.items() if name.startswith(DECODER)}
        readings = stored_readings(learned) if learned else fitted
        with torch.random.fork_rng(devices=[]):  # torch draws weights of its own, which are replaced
            self.decoder = Decoder(self.backbone, readings, self.longest, generator)
        if learned:
            self.decoder.load_state_dict(learned)
        self.decoder.to(self.device)
        self.backbone.model.to(self.device)
        self.sender = Sender(self.backbone, public)
        self._shape = {name: fitted[name] for name in FEATURES}
        self._middle, self._whitener = (fitted[name].to(self.device) for name in FEATURES)

    def features(self, states: torch.Tensor) -> torch.Tensor:
        """(B, F) of states (B, L d)."""
        return (states.to(self.device) - self._middle) @ self._whitener

    @torch.no_grad()
    def texts(self, states: torch.Tensor, beams: int) -> list[tuple[int, ...]]:
        """For each row of states (B, L d) a text: of the likeliest, the one whose states come nearest."""
        parts = states.split(max(1, BEAMS // beams))
        return [text for part in parts for text in self._nearest(part, self.written(part, beams))]

    @torch.no_grad()
    def written(self, states: torch.Tensor, beams: int) -> list[list[Written]]:
        """The likeliest texts of each row of states (B, L d), the best first."""
        return self.decoder.written(self.features(states), beams)

    def _nearest(self, states: torch.Tensor, found: Sequence[Sequence[Written]]) -> list[tuple[int, ...]]:
        sizes = [len(texts) for texts in found]
        made = self.features(self.sender.states([one.tokens for texts in found for one in texts]))
        wanted = self.features(states).repeat_interleave(torch.tensor(sizes, device=self.device), 0)
        best = [int(far.argmin()) for far in (made - wanted).norm(dim=1).split(sizes)]
        return [texts[at].tokens for texts, at in zip(found, best, strict=True)]

    def state(self) -> dict[str, torch.Tensor]:
        """What features are made with, and the decoder with its readings, by name."""
        named = {DECODER + name: tensor.detach().cpu() for name, tensor in self.decoder.state_dict().items()}
        return {**self._shape, **named}
