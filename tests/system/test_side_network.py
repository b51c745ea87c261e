"""The side network's equations against a plain loop over numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sidelight.system.side_network import SideNetwork, SideShape, from_state, shape_of

SHAPE = SideShape(layers=4, width=6, bottleneck=3, outputs=5)


def random_network(seed: int = 0) -> SideNetwork:
    """Every parameter away from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    network = SideNetwork(SHAPE, generator)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return network


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def by_hand(network: SideNetwork, activations: np.ndarray) -> np.ndarray:
    """S_i = (1 - mu_i) A_i + mu_i h_{i-1};  h_i = S_i + gelu(S_i W_down) W_up;  s = W_out h_L + b."""
    p = {name: value.double().numpy() for name, value in network.state_dict().items()}
    h = np.zeros(SHAPE.width)
    for i, taken in enumerate(activations.astype(float)):
        a = (taken - taken.mean()) / np.sqrt(taken.var() + 1e-5)
        mu = 1 / (1 + math.exp(-p["alpha"][i]))
        s = (1 - mu) * a + mu * h
        bottleneck = [gelu(sum(s[k] * p["down"][i, k, j] for k in range(SHAPE.width))) for j in range(SHAPE.bottleneck)]
        h = s + np.array(
            [sum(bottleneck[j] * p["up"][i, j, k] for j in range(SHAPE.bottleneck)) for k in range(SHAPE.width)]
        )
    outputs: np.ndarray = p["out"] @ h + p["bias"]
    return outputs


def test_a_projection_multiplies_standardised_taps_and_all_taps_by_the_same_matrix() -> None:
    generator = torch.Generator().manual_seed(5)
    network = SideNetwork(SHAPE, generator, {"wide": 9})
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    activations = torch.randn(5, 4, 9, generator=generator) * 3 - 1
    matrix = network.project["wide"].detach().double().numpy()
    taps = activations.double().numpy()
    standardised = (taps - taps.mean(2, keepdims=True)) / np.sqrt(taps.var(2, keepdims=True) + 1e-5)
    expected = np.stack([by_hand(network, row) for row in standardised @ matrix])
    np.testing.assert_allclose(network(activations, "wide").detach().numpy(), expected, atol=5e-5, rtol=5e-5)


def test_a_projection_starts_as_the_identity_where_widths_are_equal_and_else_at_random() -> None:
    network = SideNetwork(SHAPE, torch.Generator().manual_seed(0), {"same": 6, "other": 400})
    torch.testing.assert_close(network.project["same"].detach(), torch.eye(6), rtol=0, atol=0)
    assert float(network.project["other"].detach().std()) == pytest.approx(400**-0.5, rel=0.05)
    activations = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(2))
    aligned = network.features(network.align(activations, "same"))
    torch.testing.assert_close(aligned, network.features(activations), atol=1e-4, rtol=0)


def test_projections_leave_the_other_weights_as_they_are_drawn_and_are_stored_with_them() -> None:
    plain, projected = (SideNetwork(SHAPE, torch.Generator().manual_seed(1), w) for w in (None, {"a": 9, "b": 6}))
    assert all(torch.equal(tensor, projected.state_dict()[name]) for name, tensor in plain.state_dict().items())
    stored = from_state(projected.state_dict())
    activations = torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(2))
    assert torch.equal(stored(activations, "a"), projected(activations, "a"))
    assert stored.state_dict().keys() - plain.state_dict().keys() == {"project.a", "project.b"}


def test_the_output_follows_the_equations() -> None:
    network = random_network()
    activations = torch.randn(7, 4, 6, generator=torch.Generator().manual_seed(3)) * 5 + 2
    expected = np.stack([by_hand(network, row.numpy()) for row in activations])
    np.testing.assert_allclose(network(activations).detach().numpy(), expected, atol=2e-5, rtol=2e-5)


def test_an_untrained_network_adds_nothing() -> None:
    network = SideNetwork(SHAPE, torch.Generator().manual_seed(1))
    assert not network(torch.randn(3, 4, 6)).any()


def test_the_start_depends_on_the_generator_alone() -> None:
    one, two, other = (SideNetwork(SHAPE, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.down, two.down)
    assert not torch.equal(one.down, other.down)


def test_a_stored_network_gives_the_same_output() -> None:
    network = random_network()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert shape_of(state) == SHAPE
    activations = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(8))
    assert torch.equal(from_state(state)(activations), network(activations))


def test_weights_of_another_shape_or_name_are_refused() -> None:
    state = dict(random_network().state_dict())
    with pytest.raises(RuntimeError, match="size mismatch for up"):
        from_state({**state, "up": torch.zeros(1, 1, 1)})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        from_state({**state, "more": torch.zeros(1)})


def test_every_parameter_learns() -> None:
    network = random_network()
    network(torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(2))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
