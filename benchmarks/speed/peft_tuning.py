"""The peer: LoRA or full fine-tuning of a classifier in one process, with transformers and peft as their users do.

Nothing of Sidelight takes part but the rows. Texts are tokenized once; batches are of about equal length, padded to
their longest text; AdamW, and a rate that falls linearly to nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from torch.nn.functional import cross_entropy
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from ...system.data import Sample
from .race import Predict

CHUNK = 64
POOL = 16
"""Batches whose texts are sorted by length together."""


@dataclass(frozen=True)
class PeftSettings:
    """What a user of peft chooses."""

    learning_rate: float = 3e-3
    epochs: int = 3
    batch: int = 16
    rank: int = 8
    """0: every weight is tuned."""
    maps: str = "all-linear"
    """Which linear maps get updates."""
    longest: int = 48
    """Tokens of a text, as many as protocols take by default."""
    checks: int = 4
    """How often an epoch stops to be looked at."""

    def __str__(self) -> str:
        which = f"rank {self.rank} on {self.maps}" if self.rank else "every weight"
        return f"{which}, rate {self.learning_rate:g}, {self.epochs} epochs"


class PeftTuning:
    """One fine-tuning, from the weights of a folder or a hub's id."""

    def __init__(self, place: str, labels: Sequence[str], settings: PeftSettings, seed: str = "benchmark") -> None:
        self._settings, self._labels = settings, list(labels)
        self._place, self._seed, self._tokenizer = place, seed, AutoTokenizer.from_pretrained(place)
        self._pad = self._tokenizer.pad_token_id

    def work(self, samples: Sequence[Sample]) -> Iterator[Predict]:
        """Stops several times an epoch, giving what the model predicts by then."""
        torch.manual_seed(random.Random(self._seed).getrandbits(63))  # peft draws from torch's own generator
        settings, model = self._settings, self._model()
        rows = self._tokens([one.text for one in samples])
        goals = torch.tensor([self._labels.index(one.label) for one in samples])
        optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=settings.learning_rate)
        steps = math.ceil(len(rows) / settings.batch)
        falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, settings.epochs * steps)
        order = random.Random(self._seed)
        for _ in range(settings.epochs):
            model.train()
            for step, batch in enumerate(self._batches(rows, order), 1):
                loss = cross_entropy(self._scores(model, [rows[i] for i in batch]), goals[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                falling.step()
                if step % math.ceil(steps / settings.checks) == 0 or step == steps:
                    model.eval()
                    yield lambda texts: self._predicted(model, texts)
                    model.train()

    def _model(self) -> Any:
        form = {"num_labels": len(self._labels), "dtype": torch.float32}  # the packaged weights are stored as float16
        made = AutoModelForSequenceClassification.from_pretrained(self._place, **form)
        made.config.pad_token_id = self._pad
        if not self._settings.rank:
            return made
        rank, maps = self._settings.rank, self._settings.maps
        return get_peft_model(made, LoraConfig(TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank, target_modules=maps))

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(texts, truncation=True, max_length=self._settings.longest)["input_ids"]
        return found

    def _batches(self, rows: Sequence[list[int]], order: random.Random) -> Iterator[list[int]]:
        """Shuffled, then sorted by length within pools of sixteen batches, as transformers' own sampler does."""
        size, pool = self._settings.batch, POOL * self._settings.batch
        places = order.sample(range(len(rows)), len(rows))
        alike = (sorted(places[at : at + pool], key=lambda i: len(rows[i])) for at in range(0, len(rows), pool))
        cut = [some[at : at + size] for some in alike for at in range(0, len(some), size)]
        order.shuffle(cut)
        yield from cut

    def _scores(self, model: Any, rows: list[list[int]]) -> torch.Tensor:
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[self._pad] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        scores: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
        return scores

    @torch.no_grad()
    def _predicted(self, model: Any, texts: list[str]) -> torch.Tensor:
        rows = self._tokens(texts)
        return torch.cat([self._scores(model, rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)])
