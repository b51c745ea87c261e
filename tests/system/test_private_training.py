"""DP-SGD on the server: what Opacus would do wrongly without a word is an error, and the rest is as it is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from opacus.grad_sample import register_grad_sampler
from torch import nn

from sidelight.system.defences.decoy import Decoy
from sidelight.system.defences.defence import Budget, PrivateSteps
from sidelight.system.defences.dp_side import DPSide, noise_over_clip
from sidelight.system.errors import PrivacyError, ProtocolError, UsageError
from sidelight.system.gaussian import epsilon_of, standard_deviation
from sidelight.system.message import Message
from sidelight.system.protocols.private_training import PROBED, CheckedOptimizer, PrivateTraining, probe
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.side_network import SideNetwork, SideShape

from ..contracts.micro import VICTIM, Micro, make_scene, record
from ..contracts.planted import made

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


@pytest.mark.parametrize("clip", [0.3, 1e6])
def test_a_step_is_the_sum_of_clipped_gradients_over_the_batch_that_is_expected(clip: float) -> None:
    network = side()
    each, before = alone(copy.deepcopy(network), *rows(7)), weights(network)
    trained(network, steps(clip=clip)).step(*rows(7))
    lengths = each.norm(dim=1, keepdim=True)
    assert float(lengths.min()) > 0.3
    wanted = (each * (clip / lengths).clamp(max=1)).sum(0) / 4
    torch.testing.assert_close(before - weights(network), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [0, 5])
def test_the_noise_is_the_ratio_times_the_clip_over_the_batch_that_is_expected(count: int) -> None:
    """Drowned in noise a step is noise alone, and so it is without any sample."""
    network = SideNetwork(SideShape(LAYERS, 40, 60, OUTPUTS), generator())
    before = weights(network)
    training = PrivateTraining(
        network,
        torch.optim.SGD(network.parameters(), lr=1.0),
        ((LAYERS, 40), (OUTPUTS,)),
        steps(ratio=300.0, clip=0.1, expected=20.0),
        generator(),
    )
    training.step(torch.randn(count, LAYERS, 40), torch.randn(count, OUTPUTS))
    moved = weights(network) - before
    assert float(moved.std()) == pytest.approx(300 * 0.1 / 20, rel=0.03)
    assert bool(moved.isfinite().all())


def test_an_empty_batch_without_noise_moves_nothing() -> None:
    network = side()
    before = weights(network)
    trained(network, steps()).step(*rows(0))
    assert torch.equal(weights(network), before)


def test_batches_are_drawn_by_independent_coins(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    training = trained(side(), PrivateSteps(0.3, 3.0, 400, 1, 1.0, 1.0, PROMISED))
    monkeypatch.setattr(training, "step", lambda activations, _: seen.append(len(activations)))
    training.epoch(0.1, *rows(10))
    counts = torch.tensor(seen).double()
    assert len(seen) == 400
    # Binomial(10, 0.3): mean 3, variance 2.1; five standard errors of each
    assert float(counts.mean()) == pytest.approx(3, abs=5 * (2.1 / 400) ** 0.5)
    assert float(counts.var()) == pytest.approx(2.1, abs=5 * 2.1 * (2 / 400) ** 0.5)


def test_no_epoch_is_trained_beyond_those_accounted_for() -> None:
    training = trained(side(), steps(epochs=1))
    training.epoch(0.1, *rows(4))
    with pytest.raises(ProtocolError, match="spent after 1 epochs"):
        training.epoch(0.1, *rows(4))


# --- Opacus's silent failures ---------------------------------------------------------------------------------


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


# --- the defence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epsilon", "count"), [(0.5, 1), (8.0, 30)])
def test_without_sampling_the_noise_is_that_of_as_many_gaussian_releases(epsilon: float, count: int) -> None:
    wanted = standard_deviation(count**0.5, epsilon, 1e-5)
    assert wanted <= noise_over_clip(epsilon, 1e-5, 1.0, count) <= 1.03 * wanted


def test_sampling_needs_less_noise_than_steps_on_all_rows() -> None:
    assert noise_over_clip(2.0, 1e-5, 0.1, 50) < 0.5 * standard_deviation(50**0.5, 2.0, 1e-5)


def test_a_ratio_promises_no_more_than_steps_on_all_rows() -> None:
    told = DPSide(ratio=4.0).private_steps(rows=100, batch=20, epochs=3)
    assert (told.rate, told.expected, told.an_epoch, told.ratio) == (0.2, 20.0, 5, 4.0)
    assert told.promised.epsilon == pytest.approx(epsilon_of(15**0.5 / 4, 1e-5))


def test_the_promise_names_whom_it_is_about(micro: Micro) -> None:
    protocol = made("pae", defences=(DPSide(epsilon=2.0),), side=SideTraining(8, 2, batch=12))
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    found = protocol.released_budget(scene)
    assert found is not None
    assert (found.epsilon, found.unit) == (2.0, "example")
    assert found.against == "those who receive the side network, not those who see what crosses"
    assert (protocol.budget(scene), protocol.example_budget(scene)) == (None, None)


def test_examples_made_of_other_examples_leave_no_promise(micro: Micro) -> None:
    protocol = made("pae", defences=(DPSide(ratio=1.0), Decoy(classes=0)))
    assert protocol.released_budget(make_scene(micro.backbone("opt"), protocol=protocol)) is None


def test_a_device_cannot_ask_for_more_than_was_accounted_for(micro: Micro) -> None:
    protocol = made("pae", defences=(DPSide(ratio=1.0),), side=SideTraining(8, 2, batch=12))
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    assert len(run.view().rows("activations", "activations")[0]) == len(VICTIM)
    with pytest.raises(ProtocolError, match="spent after 2 epochs"):
        run.roles[SERVER].handle(Message("train", DEVICE, SERVER, round=2))


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"epsilon": 21.0}, "protects nothing"), ({"clip": 0.0}, "the clip of dp-side"), ({"ratio": -1.0}, "the ratio")],
)
def test_settings_that_promise_nothing_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        DPSide(**settings)
