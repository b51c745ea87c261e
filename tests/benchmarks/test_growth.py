"""Exponents of costs, and what they are held to."""

from __future__ import annotations

import numpy as np
import pytest

from sidelight.benchmarks.finding import Bench
from sidelight.benchmarks.limits import device_costs, server_costs
from sidelight.benchmarks.limits.axes import Axis
from sidelight.benchmarks.limits.exponent import fitted
from sidelight.benchmarks.limits.growth import bars, grown, plots
from sidelight.benchmarks.limits.server_costs import SHAPE
from sidelight.system.errors import UsageError

from ..contracts.micro import Micro

SIZES = (100, 1_000, 10_000, 100_000)


def axis(power: float) -> Axis:
    return Axis("samples", SIZES, lambda size: {"cost": 3.0 * size**power})


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_a_power_law_has_its_power(power: float) -> None:
    found = fitted([(size, 5.0 * size**power) for size in SIZES])
    assert found.value == pytest.approx(power, abs=1e-9)
    assert found.low <= found.value <= found.high


def test_the_interval_covers_the_true_power_in_ninety_five_of_a_hundred_noisy_runs() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        noise = np.exp(generator.normal(0, 0.2, len(SIZES) * 3))
        points = [(size, 2.0 * size * wobble) for size, wobble in zip(SIZES * 3, noise, strict=True)]
        covered += fitted(points).low <= 1 <= fitted(points).high
    assert 930 <= covered <= 970


@pytest.mark.parametrize("points", [[(1, 1), (2, 2)], [(1, 1), (1, 2), (1, 3)], [(1, 1), (2, 0), (3, 1)]])
def test_too_few_sizes_or_costs_of_nothing_have_no_power(points: list[tuple[float, float]]) -> None:
    with pytest.raises(UsageError, match="three points"):
        fitted(points)


@pytest.mark.parametrize("fixed", [0.0, 1e5])
@pytest.mark.parametrize(("power", "reached"), [(0.9, True), (1.2, False), (2.0, False)])
def test_what_is_worse_than_linear_in_samples_misses_its_bar(power: float, reached: bool, fixed: float) -> None:
    sizes = (100, 1_000, 10_000, 30_000, 100_000)
    costs = Axis("samples", sizes, lambda size: {"cost": fixed * 1e4 ** (power - 1) / 1e2 + size**power})
    (bar,) = bars(grown(costs, Bench()))
    assert bar.reached is reached


def test_what_grows_with_anything_else_has_no_bar_but_is_drawn() -> None:
    found = grown(Axis("width", SIZES, lambda size: {"cost": float(size**2)}), Bench())
    assert bars(found) == []
    (plot,) = plots(found)
    assert plot.series["cost"][0] == (100.0, 10_000.0)
    assert found[0].row()["exponent"] == pytest.approx(2)


def test_work_of_every_kind_is_really_done(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    found = [
        server_costs.of_samples(130),
        server_costs.step(SHAPE),
        server_costs.of_devices(backbone, 1),
        device_costs.passed(backbone, 5),
    ]
    assert all(cost > 0 for costs in found for cost in costs.values())


def test_a_server_of_several_devices_holds_what_they_send(micro: Micro) -> None:
    backbone = micro.backbone("opt")
    sent = server_costs.OF_DEVICE * len(backbone.blocks) * backbone.width * 4
    (few,), (many,) = (server_costs.memory_of_devices(backbone, devices).values() for devices in (2, 12))
    assert many - few > 10 * sent
