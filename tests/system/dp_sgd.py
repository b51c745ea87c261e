"""A small side network and its training with differential privacy, for the tests of both."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from sidelight.system.defences.defence import Budget, PrivateSteps
from sidelight.system.protocols.private_training import PrivateTraining
from sidelight.system.side_network import SideNetwork, SideShape

LAYERS, TAP, OUTPUTS = 3, 8, 5
SHAPE = SideShape(LAYERS, TAP, 4, OUTPUTS)
SIZES = (LAYERS, TAP), (OUTPUTS,)
PROMISED = Budget(1.0, 1e-5, "example")


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def steps(ratio: float = 0.0, clip: float = 1.0, expected: float = 4.0, epochs: int = 2) -> PrivateSteps:
    return PrivateSteps(0.5, expected, 2, epochs, clip, ratio, PROMISED)


def rows(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, LAYERS, TAP, generator=generator(2)), torch.randn(count, OUTPUTS, generator=generator(3))


def drawn_from(count: int) -> tuple[int, Callable[[list[int]], tuple[torch.Tensor, torch.Tensor]]]:
    """So many samples, and how a training asks for them."""
    activations, targets = rows(count)
    return count, lambda places: (activations[places], targets[places])


def side() -> SideNetwork:
    """A side network none of whose gradients is zero."""
    network = SideNetwork(SHAPE, generator())
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator(4)))
    return network


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def alone(network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The gradient of every sample (B, P), one after another by plain autograd."""
    found = []
    for i in range(len(inputs)):
        loss = (network(inputs[i : i + 1]) - targets[i : i + 1]).square().sum()
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))]))
    return torch.stack(found)


def trained(network: nn.Module, told: PrivateSteps) -> PrivateTraining:
    return PrivateTraining(network, torch.optim.SGD(network.parameters(), lr=1.0), SIZES, told, generator())
