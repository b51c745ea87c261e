"""How a side network is trained on cached activations: settings, optimiser, one epoch of regression.

Shapes: N samples, L layers, d width, K outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.nn.functional import mse_loss

from ..errors import UsageError
from ..side_network import SideNetwork
from .protocol import batches
from .side_gradient import SideGradient

T = TypeVar("T")


@dataclass(frozen=True)
class SideTraining:
    """AdamW, the rate falling along a cosine, epoch by epoch; none of it is published."""

    bottleneck: int = 192
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        for name, value in (("bottleneck", self.bottleneck), ("batch", self.batch)):
            if value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")

    def optimizer(self, network: SideNetwork) -> torch.optim.Optimizer:
        weights, decay = network.parameters(), self.weight_decay
        return torch.optim.AdamW(weights, lr=self.learning_rate, weight_decay=decay, fused=True)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch."""
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(epoch / max(self.epochs, 1), 1.0)))

    def set_rate(self, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.rate(epoch)


def regress(
    network: SideNetwork,
    optimizer: torch.optim.Optimizer,
    training: SideTraining,
    epoch: int,
    activations: torch.Tensor,
    targets: torch.Tensor,
    generator: torch.Generator,
) -> None:
    """One epoch of mean squared error between s(A), from (N, L, d), and the targets (N, K)."""
    gradient = SideGradient(network)
    training.set_rate(optimizer, epoch)
    for rows in batches(range(len(activations)), training.batch, generator):
        gradient(activations[rows], targets[rows])
        optimizer.step()


def descend(
    optimizer: torch.optim.Optimizer,
    training: SideTraining,
    epoch: int,
    cut: Iterable[T],
    loss: Callable[[T], torch.Tensor],
) -> None:
    """A step down the loss of each batch, at an epoch's rate."""
    training.set_rate(optimizer, epoch)
    for rows in cut:
        optimizer.zero_grad()
        loss(rows).backward()
        optimizer.step()


def squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of outputs and targets (N, K), summed over K, the mean over samples."""
    return mse_loss(outputs, targets, reduction="none").sum(1).mean()
