"""Bounds of arithmetic and memory, against counts that are made otherwise."""

from __future__ import annotations

import pytest
import torch

from sidelight.benchmarks.finding import Bench
from sidelight.benchmarks.limits import machine as machine_room
from sidelight.benchmarks.limits import nearness, server_training
from sidelight.benchmarks.limits.bounds import Bound, cache_read, server_step
from sidelight.benchmarks.limits.machine import Machine, loopback, measured, one_thread
from sidelight.benchmarks.limits.nearness import LEAST, Figure, bar
from sidelight.benchmarks.operations import counter
from sidelight.system.side_network import SideNetwork, SideShape

SHAPE = SideShape(layers=3, width=10, bottleneck=4, outputs=5)
ROOM = Machine(1, {"large": 100.0, "narrow": 50.0}, copying=10.0, reading=20.0, socket=1.0)


def test_the_operations_of_a_step_are_those_that_torch_counts() -> None:
    """But for one product of autograd's: the gradient of what the first layer takes, which the weights do not need."""
    network = SideNetwork(SHAPE, torch.Generator().manual_seed(0))
    with counter() as counted:
        network(torch.randn(7, 3, 10)).square().sum().backward()
    spared = 2 * 7 * SHAPE.width * SHAPE.bottleneck
    assert counted.get_total_flops() == server_step(SHAPE, 7).operations + spared


def test_the_bytes_of_a_step_are_rows_at_two_bytes() -> None:
    assert server_step(SHAPE, 7).moved == 2 * 7 * (3 * 10 + 5)
    assert cache_read(SHAPE, 7).moved == 2 * 2 * 7 * (3 * 10 + 5)


def test_a_bound_is_the_longer_of_products_and_bytes() -> None:
    assert Bound(operations=400, moved=10).roofline(ROOM) == 4
    assert Bound(operations=400, moved=80).roofline(ROOM) == 8
    assert Figure("some", 10.0, Bound(400, 80)).share(ROOM) == 40
    assert Figure("some", 16.0, Bound(moved=80)).share(ROOM) == 50


@pytest.mark.parametrize(("seconds", "reached"), [(9.9, True), (10.1, False)])
def test_the_servers_bar_is_a_share_of_the_arithmetic_bound(seconds: float, reached: bool) -> None:
    found = bar(ROOM, Figure("epoch", seconds, Bound(400, 80)))
    assert found.bar == LEAST == 40
    assert found.reached is reached
    assert "allows 50 %" in found.note


def test_the_machine_is_measured_and_gets_its_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SQUARE": 64, "WORTH": 1e5, "ARRAY": 1 << 20, "SENT": 1 << 20, "CHUNK": 1 << 16}.items():
        monkeypatch.setattr(machine_room, name, value)
    before = torch.get_num_threads()
    with one_thread():
        found = measured(SHAPE, 7)
    assert torch.get_num_threads() == before
    assert found.threads == 1
    assert set(found.products) == {"64 x 64 x 64", "7 x 10 x 4", "7 x 4 x 10", "10 x 7 x 4"}
    assert found.peak >= min(found.products.values()) > 0
    assert min(found.copying, found.reading, found.socket, loopback()) > 0


def test_every_figure_stands_beside_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"SQUARE": 256, "ARRAY": 1 << 20, "SENT": 1 << 20, "CHUNK": 1 << 16, "WORTH": 1e5}.items():
        monkeypatch.setattr(machine_room, name, size)
    for name, value in {"SHAPE": SHAPE, "SAMPLES": 128, "STEPS": 1, "TURNS": 1}.items():
        monkeypatch.setattr(nearness, name, value)
    pace = server_training.Pace([dict.fromkeys(server_training.CONTENDERS, 1.0)])
    monkeypatch.setattr(server_training, "turns", lambda *_: pace)
    found = nearness.measure(Bench())
    assert [one.bar for one in found.headlines] == [LEAST, 0.8, 0.8, 0.8, None, None, None]
    assert len(found.rows) == 7
    for row in found.rows:
        shares = [row["% of the arithmetic bound"], row["% of the roofline"]]
        assert any(isinstance(share, float) and share > 0 for share in shares)
