"""DP-SGD on the server: steps are what was accounted for."""

from __future__ import annotations

import copy
from dataclasses import replace
from math import inf, nan

import pytest
import torch

from sidelight.system.defences.defence import PrivateSteps
from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message
from sidelight.system.protocols.pae_server import PAEServer
from sidelight.system.protocols.private_training import PrivateTraining
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.side_network import SideNetwork, SideShape

from .dp_sgd import LAYERS, OUTPUTS, PROMISED, SHAPE, alone, drawn_from, generator, rows, side, steps, trained, weights


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
    training.epoch(0.1, *drawn_from(10))
    counts = torch.tensor(seen).double()
    assert len(seen) == 400
    # Binomial(10, 0.3): mean 3, variance 2.1; five standard errors of each
    assert float(counts.mean()) == pytest.approx(3, abs=5 * (2.1 / 400) ** 0.5)
    assert float(counts.var()) == pytest.approx(2.1, abs=5 * 2.1 * (2 / 400) ** 0.5)


def test_no_epoch_is_trained_beyond_those_accounted_for() -> None:
    training = trained(side(), steps(epochs=1))
    training.epoch(0.1, *drawn_from(4))
    with pytest.raises(ProtocolError, match="spent after 1 epochs"):
        training.epoch(0.1, *drawn_from(4))


@pytest.mark.parametrize(
    ("what", "value"),
    [("activations", inf), ("activations", nan), ("targets", inf), ("targets", nan), ("targets", 3e38)],
)
def test_a_sample_whose_gradient_is_no_finite_number_moves_nothing(what: str, value: float) -> None:
    """A step is then that of the others alone, and noise stays noise: nothing shows that the sample was there."""
    activations, targets = rows(7)
    (activations if what == "activations" else targets)[3, 0] = value
    found = []
    for kept in (range(7), (0, 1, 2, 4, 5, 6)):
        network = side()
        trained(network, steps(ratio=0.1)).step(activations[list(kept)], targets[list(kept)])
        found.append(weights(network))
    assert bool(found[0].isfinite().all())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kind", ["activations", "difference"])
def test_an_endless_value_that_a_device_sends_is_refused_and_the_others_are_kept(kind: str) -> None:
    server = PAEServer(SHAPE, SideTraining(4, 2, batch=4), Streams("s"), replace(steps(ratio=0.1), rate=1.0))
    sent = dict(zip(("activations", "difference"), rows(8), strict=True))
    ids = tuple(f"{i:016x}" for i in range(8))
    server.handle(Message("samples", DEVICE, SERVER, sample_ids=ids))
    endless = {name: values.clone() for name, values in sent.items()}
    endless[kind][5] = inf
    with pytest.raises(ProtocolError, match=f"'{kind}' of device-0 holds values that are no numbers"):
        server.handle(Message(kind, DEVICE, SERVER, sample_ids=ids, tensors={kind: endless[kind]}))
    assert server.handle(Message("train", DEVICE, SERVER)).sample_ids == ids
    for name, values in sent.items():
        server.handle(Message(name, DEVICE, SERVER, sample_ids=ids, tensors={name: values}))
    for epoch in range(2):
        assert server.handle(Message("train", DEVICE, SERVER, round=epoch)).kind == "ready"
    released = server.handle(Message("download", DEVICE, SERVER)).tensors
    assert all(bool(tensor.isfinite().all()) for tensor in released.values())
