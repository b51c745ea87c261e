"""Gradients of the side network by hand, against autograd on the equations."""

from __future__ import annotations

import pytest
import torch

from sidelight.system.protocols.side_gradient import SideGradient
from sidelight.system.protocols.side_training import SideTraining, squared_error
from sidelight.system.side_network import SideNetwork, SideShape

SHAPES = [SideShape(1, 6, 3, 5), SideShape(2, 5, 5, 1), SideShape(4, 8, 2, 7)]


def drawn(shape: SideShape, seed: int = 0) -> SideNetwork:
    """Every weight away from its initial value; in double precision, so that only a wrong formula differs."""
    generator = torch.Generator().manual_seed(seed)
    network = SideNetwork(shape, generator).double()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


def batch(shape: SideShape, rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    activations = torch.randn(rows, shape.layers, shape.width, generator=generator, dtype=torch.float64) * 3 + 1
    return activations, torch.randn(rows, shape.outputs, generator=generator, dtype=torch.float64)


def expected(network: SideNetwork, activations: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    error = squared_error(network(activations.to(network.down.dtype)), targets)
    return [error.detach(), *torch.autograd.grad(error, list(network.parameters()))]


@pytest.mark.parametrize("shape", SHAPES)
def test_error_and_gradients_are_autograds_for_batches_of_any_size(shape: SideShape) -> None:
    network = drawn(shape)
    gradient = SideGradient(network)
    for rows in (9, 1, 9):
        activations, targets = batch(shape, rows, rows)
        wanted = expected(network, activations, targets)
        error = gradient(activations, targets)
        found = [error, *(parameter.grad for parameter in network.parameters())]
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_rows_are_taken_at_the_precision_at_which_they_are_kept() -> None:
    shape = SHAPES[2]
    network = drawn(shape)
    activations, targets = batch(shape, 5, 1)
    wanted = expected(network, activations.half(), targets.half().double())
    SideGradient(network)(activations.half(), targets.half())
    for parameter, other in zip(network.parameters(), wanted[1:], strict=True):
        torch.testing.assert_close(parameter.grad, other, rtol=1e-9, atol=1e-9)


def test_weights_that_are_loaded_later_are_those_that_count() -> None:
    shape = SHAPES[2]
    network, other = drawn(shape), drawn(shape, 1)
    gradient, rows = SideGradient(network), batch(shape, 5, 2)
    gradient(*rows)
    network.load_state_dict(other.state_dict())
    gradient(*rows)
    for parameter, wanted in zip(network.parameters(), expected(other, *rows)[1:], strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-9, atol=1e-9)


def test_a_training_ends_where_the_plain_loop_ends() -> None:
    shape, training = SideShape(6, 32, 8, 4), SideTraining(bottleneck=8, epochs=3)
    ours, plain = (SideNetwork(shape, torch.Generator().manual_seed(3)) for _ in range(2))
    gradient, steps = SideGradient(ours), [training.optimizer(network) for network in (ours, plain)]
    for epoch in range(training.epochs):
        for seed in range(4):
            activations, targets = (part.float() for part in batch(shape, 16, seed))
            gradient(activations, targets)
            steps[1].zero_grad()
            squared_error(plain(activations), targets).backward()
            for step in steps:
                training.set_rate(step, epoch)
                step.step()
    moved = max(
        float((p - q).abs().max()) for p, q in zip(*(one.state_dict().values() for one in (ours, plain)), strict=True)
    )
    assert moved < 1e-4
    assert float(ours.up.detach().abs().max()) > 1e-2
