"""Shadow side networks, against the server's own training in a loop; what is shared and what a stop leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import layer_norm

from sidelight.attacks import ATTACKS
from sidelight.attacks.evidence.members import shadows
from sidelight.attacks.evidence.members.group_gradient import Weights
from sidelight.attacks.evidence.members.shadows import Recipe, answered, drawn, halves, shadows_of, trained
from sidelight.attacks.membership.lira import log_density
from sidelight.attacks.workbench import Workbench
from sidelight.audits.sandbox.prepared_key import prepared_key
from sidelight.system.errors import UsageError
from sidelight.system.protocols.side_training import SideTraining, squared_error
from sidelight.system.public import Public
from sidelight.system.side_network import SideNetwork, from_state

SIDE = SideTraining(bottleneck=3, epochs=3, batch=8, learning_rate=1e-2)
RECIPE = Recipe(**vars(SIDE))
ROWS, LAYERS, WIDTH, OUTPUTS = 40, 3, 6, 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def material() -> tuple[torch.Tensor, torch.Tensor]:
    """Taps (C, L, k) and targets (C, D)."""
    return torch.randn(ROWS, LAYERS, WIDTH, generator=generator()), torch.randn(ROWS, OUTPUTS, generator=generator(1))


def network(weights: Weights, at: int) -> SideNetwork:
    """One of a group."""
    state = {
        "alpha": weights.alpha[at],
        "down": torch.stack([down[at] for down in weights.downs]),
        "up": torch.stack([up[at] for up in weights.ups]),
        "out": weights.out[at],
        "bias": weights.bias[at],
    }
    return from_state({name: tensor.detach().clone() for name, tensor in state.items()})


def test_a_shadow_of_a_group_is_what_a_loop_trains_on_the_same_batches() -> None:
    taps, targets = material()
    inside, seeds = halves(3, ROWS, generator(2)), generator(3)
    normal = layer_norm(taps, (WIDTH,)).transpose(0, 1).contiguous()
    group = trained(normal, targets, inside, RECIPE, seeds)

    again = generator(3)
    started = drawn(3, LAYERS, WIDTH, OUTPUTS, SIDE.bottleneck, again)
    alone = [network(started, at) for at in range(3)]
    optimizers = [SIDE.optimizer(one) for one in alone]
    for epoch in range(SIDE.epochs):
        orders = [rows[torch.randperm(len(rows), generator=again)] for rows in (own.nonzero()[:, 0] for own in inside)]
        for one, optimizer, order in zip(alone, optimizers, orders, strict=True):
            optimizer.param_groups[0]["lr"] = SIDE.rate(epoch)
            for rows in order.split(SIDE.batch):
                optimizer.zero_grad()
                squared_error(one(taps[rows]), targets[rows]).backward()
                optimizer.step()
    for at, one in enumerate(alone):
        assert torch.allclose(network(group, at)(taps), one(taps), atol=1e-4)
    together = answered(group, normal, chunk=7)
    assert torch.allclose(together[1], alone[1](taps), atol=1e-4)


def test_the_rate_of_an_epoch_is_the_servers() -> None:
    assert [RECIPE.rate(epoch) for epoch in range(4)] == [SIDE.rate(epoch) for epoch in range(4)]


def test_every_shadow_trains_on_a_half_of_its_own() -> None:
    inside = halves(50, 41, generator())
    assert inside.sum(1).tolist() == [20] * 50
    assert len(inside.unique(dim=0)) == 50


def test_what_was_trained_before_a_stop_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "GROUP", 2)
    pair = material()

    def sent(_: torch.Generator) -> shadows.Pair:
        return pair

    whole = shadows_of(pair, sent, RECIPE, 6, generator(), Workbench())

    class Stopped(Exception):
        pass

    bench = Workbench(tmp_path)

    def stop(done: float, total: float) -> None:
        if done == 4:
            raise Stopped

    monkeypatch.setattr(bench, "progress", stop)
    with pytest.raises(Stopped):
        shadows_of(pair, sent, RECIPE, 6, generator(), bench)
    trainings: list[int] = []

    def counted(*given: Any) -> Weights:
        trainings.append(1)
        return trained(*given)

    monkeypatch.setattr(shadows, "trained", counted)
    rest = shadows_of(pair, sent, RECIPE, 6, generator(9), Workbench(tmp_path))
    assert len(trainings) == 1
    assert torch.equal(rest.inside, whole.inside)
    assert torch.equal(rest.errors, whole.errors)


def test_attacks_by_shadows_share_what_they_prepare() -> None:
    keys = {
        prepared_key(ATTACKS[name](), {"shadows": 8}, Public({}, ()), "") for name in ("lira", "rmia", "calibrated")
    }
    assert len(keys) == 1
    assert keys.pop().startswith("shadowed-")


def test_the_density_is_that_of_a_gaussian_whose_variance_is_half_its_own() -> None:
    values = torch.tensor([[1.0, 10.0], [3.0, 10.0], [9.0, 50.0]])
    counted = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    # means 2 and 10; own variances 2 and 0; over all four values 0.5: mixed 1.25 and 0.25
    found = log_density(torch.tensor([4.0, 10.5]), values, counted)
    expected = torch.tensor([-4 / 2.5, -0.25 / 0.5]) - torch.tensor([1.25, 0.25]).log() / 2
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("name", ["lira", "rmia", "calibrated"])
def test_too_few_shadows_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"shadows of {name} is 1; give at least 8"):
        ATTACKS[name](shadows=1)  # type: ignore[call-arg]


def test_an_attack_with_a_preparation_of_its_own_shares_none() -> None:
    keys = {prepared_key(ATTACKS[name](), {}, Public({}, ()), "") for name in ("retrieve", "inverter")}
    assert {key.rpartition("-")[0] for key in keys} == {"retrieve", "inverter"}
