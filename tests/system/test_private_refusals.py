"""What Opacus would do wrongly without a word is an error."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from opacus.grad_sample import register_grad_sampler
from torch import nn

from sidelight.system.errors import PrivacyError
from sidelight.system.protocols.private_training import PROBED, CheckedOptimizer, PrivateTraining, probe
from sidelight.system.side_network import SideNetwork

from .dp_sgd import LAYERS, OUTPUTS, SHAPE, SIZES, TAP, generator, rows, side, steps, trained, weights


class Mixing(nn.Module):
    """A network in which a sample's output depends on the rest of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LAYERS * TAP, OUTPUTS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(inputs.flatten(1) - inputs.flatten(1).mean(0))
        return found


class Unused(nn.Module):
    """A network with a weight that does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LAYERS * TAP, OUTPUTS)
        self.idle = nn.Linear(2, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(inputs.flatten(1))
        return found


class Wrong(nn.Linear):
    """A layer whose gradients of single samples somebody has registered wrongly."""


@register_grad_sampler(Wrong)  # type: ignore[untyped-decorator] # Opacus ships no types
def _wrong(layer: Wrong, activations: list[torch.Tensor], backprops: torch.Tensor) -> dict[torch.Tensor, torch.Tensor]:
    outer = torch.einsum("nk,nd->nkd", backprops, activations[0])
    return {layer.weight: outer * 1.01, layer.bias: backprops}


def batch_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(LAYERS * TAP), nn.Linear(LAYERS * TAP, OUTPUTS))


def wrong() -> nn.Module:
    return nn.Sequential(nn.Flatten(), Wrong(LAYERS * TAP, OUTPUTS))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Mixing, "gradients of single samples of linear.weight are wrong"),
        (batch_norm, "Opacus cannot train Sequential"),
        (wrong, "gradients of single samples of 1.weight are wrong"),
        (Unused, "idle.weight, idle.bias has no gradient of single samples"),
    ],
)
def test_a_network_that_opacus_cannot_handle_is_refused_before_it_is_trained(
    make: Callable[[], nn.Module], told: str
) -> None:
    with pytest.raises(PrivacyError, match=told):
        trained(make(), steps())


def test_the_probe_passes_a_side_network_and_leaves_it_as_it_was() -> None:
    network = SideNetwork(SHAPE, generator())
    before = weights(network)
    probe(network, *rows(PROBED), generator())
    assert torch.equal(weights(network), before)
    assert not any(hasattr(weight, "grad_sample") for weight in network.parameters())


def test_a_frozen_weight_that_the_optimiser_holds_is_refused() -> None:
    network = side()
    network.alpha.requires_grad_(False)
    with pytest.raises(PrivacyError, match="holds what is not trained: alpha"):
        trained(network, steps())


def test_a_weight_that_the_optimiser_lacks_is_refused() -> None:
    network = side()
    lacking = torch.optim.SGD([network.down, network.up], lr=1.0)
    with pytest.raises(PrivacyError, match="the optimiser lacks alpha, bias, out"):
        PrivateTraining(network, lacking, SIZES, steps(), generator())


def test_frozen_weights_have_no_share_in_the_clip_and_no_noise() -> None:
    network = side()
    network.down.requires_grad_(False)
    others = [weight for name, weight in network.named_parameters() if name != "down"]
    frozen = network.down.detach().clone()
    each = copy.deepcopy(network)
    gradients = []
    for i in range(6):
        loss = (each(rows(6)[0][i : i + 1]) - rows(6)[1][i : i + 1]).square().sum()
        left = [weight for name, weight in each.named_parameters() if name != "down"]
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, left)]))
    before = torch.cat([weight.detach().flatten().clone() for weight in others])
    told = PrivateTraining(network, torch.optim.SGD(others, lr=1.0), SIZES, steps(clip=0.2), generator())
    told.step(*rows(6))
    moved = before - torch.cat([weight.detach().flatten() for weight in others])
    wanted = torch.stack([0.2 * g / g.norm() for g in gradients]).sum(0) / 4
    torch.testing.assert_close(moved, wanted, rtol=1e-4, atol=1e-5)
    assert torch.equal(network.down, frozen)


def test_a_weight_that_is_frozen_in_the_middle_is_refused() -> None:
    network = side()
    training = trained(network, steps())
    training.step(*rows(4))
    network.up.requires_grad_(False)
    with pytest.raises(PrivacyError, match="up"):
        training.step(*rows(4))


def optimizer_of(training: PrivateTraining) -> CheckedOptimizer:
    return training._optimizer


def backward(training: PrivateTraining) -> None:
    inputs, targets = rows(4)
    (training._network(inputs.requires_grad_()) - targets).square().sum().backward()


def test_two_batches_in_one_step_are_refused() -> None:
    """Opacus puts the gradients of both into one sum, which was accounted for as one batch."""
    training = trained(side(), steps())
    optimizer = optimizer_of(training)
    optimizer.rows = 4
    for _ in range(2):
        backward(training)
    with pytest.raises(PrivacyError, match="holds gradients of 2 batches"):
        optimizer.step()


def test_a_step_that_is_put_off_is_refused() -> None:
    training = trained(side(), steps())
    optimizer_of(training).signal_skip_step()
    with pytest.raises(PrivacyError, match="gradients of several batches go into one step"):
        training.step(*rows(4))


def test_gradients_of_other_samples_than_were_drawn_are_refused() -> None:
    training = trained(side(), steps())
    optimizer = optimizer_of(training)
    optimizer.zero_grad()
    optimizer.rows = 5
    backward(training)
    with pytest.raises(PrivacyError, match="4 gradients for 5 samples"):
        optimizer.step()
