"""How low-rank updates, or a whole part, and its head are trained: settings and optimiser."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..errors import UsageError
from ..partial import FULL


@dataclass(frozen=True)
class LoraTraining:
    """AdamW, or plain gradient descent; the rate falls along a cosine, epoch by epoch."""

    rank: int = 8
    epochs: int = 3
    batch: int = 16
    learning_rate: float = 3e-3
    rule: Literal["adamw", "sgd"] = "adamw"
    full: bool = False
    """Whether all weights of a part's blocks, and of the embeddings or the final norm beside them, are trained in place
    of low-rank updates; wants a smaller learning rate."""

    def __post_init__(self) -> None:
        for name, value in (("rank", self.rank), ("batch", self.batch), ("epochs", self.epochs)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")
        if self.rule not in ("adamw", "sgd"):
            raise UsageError(f"rule {self.rule!r} is neither adamw nor sgd; give one of them")

    @property
    def updates(self) -> int:
        """The rank of the updates, or FULL, as system/partial.py takes it."""
        return FULL if self.full else self.rank

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of the parameters that ask for gradients."""
        trained = [p for p in parameters if p.requires_grad]
        if self.rule == "sgd":
            return torch.optim.SGD(trained, lr=self.learning_rate)
        return torch.optim.AdamW(trained, lr=self.learning_rate)

    def set_rate(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        """Set an epoch's learning rate."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(epoch / self.epochs, 1.0)))
