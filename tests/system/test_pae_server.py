"""The server of PAE MobiLLM: one training, whatever came when, wherever it was broken off, whoever spoils it."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
import torch

from sidelight.system.defences.defence import Budget, PrivateSteps
from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message
from sidelight.system.protocols.batch_order import ordered
from sidelight.system.protocols.pae_server import PAEServer
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.side_network import SideShape

SHAPE = SideShape(layers=3, width=8, bottleneck=4, outputs=5)
TRAINING = SideTraining(bottleneck=4, epochs=3, batch=4, learning_rate=3e-2)
IDS = tuple(f"{i:016x}" for i in range(10))
PRIVATE = PrivateSteps(0.4, 4.0, 3, 3, 1.0, 1.0, Budget(1.0, 1e-5, "example"))


def rows() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        "activations": torch.randn(10, 3, 8, generator=generator),
        "difference": torch.randn(10, 5, generator=generator),
    }


ROWS = rows()


def server(private: PrivateSteps | None = None) -> PAEServer:
    return PAEServer(SHAPE, TRAINING, Streams("device seed"), private)


def message(kind: str, ids: tuple[str, ...] = (), **fields: Any) -> Message:
    return Message(kind, DEVICE, SERVER, sample_ids=ids, **fields)


def part(kind: str, places: list[int]) -> Message:
    ids = tuple(IDS[place] for place in places)
    return message(kind, ids, tensors={kind: ROWS[kind][places]})


def announced(private: PrivateSteps | None = None) -> PAEServer:
    made = server(private)
    assert made.handle(message("samples", IDS)).sample_ids == IDS
    return made


def full(private: PrivateSteps | None = None) -> PAEServer:
    made = announced(private)
    for kind in ROWS:
        made.handle(part(kind, list(range(10))))
    return made


def trained(made: PAEServer) -> dict[str, torch.Tensor]:
    for epoch in range(TRAINING.epochs):
        assert made.handle(message("train", round=epoch)).kind == "ready"
    return weights(made)


def weights(made: PAEServer) -> dict[str, torch.Tensor]:
    return dict(made.handle(message("download")).tensors)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, torch.Tensor]:
    return trained(full())


# --- one training, whatever happens ---------------------------------------------------------------------------


def test_training_changes_the_network_and_another_device_seed_gives_another_one(
    undisturbed: dict[str, torch.Tensor],
) -> None:
    assert not same(undisturbed, weights(full()))
    other = PAEServer(SHAPE, TRAINING, Streams("another"))
    other.handle(message("samples", IDS))
    for kind in ROWS:
        other.handle(part(kind, list(range(10))))
    assert not same(undisturbed, trained(other))


def test_messages_may_come_in_any_order_and_again(undisturbed: dict[str, torch.Tensor]) -> None:
    made = announced()
    for places in ([7, 2], [9, 8, 0], [7, 2], [1, 3, 4, 5, 6]):
        made.handle(part("difference", places))
    made.handle(message("samples", IDS[::-1]))
    for places in ([3], [0, 1, 2], [3, 4], [9, 8, 7, 6, 5]):
        made.handle(part("activations", places))
    assert same(trained(made), undisturbed)


def test_a_batch_is_trained_on_as_soon_as_its_samples_are_there_and_no_sooner(
    undisturbed: dict[str, torch.Tensor],
) -> None:
    made, steps = announced(), []
    for sample_id in ordered("device seed", 0, IDS):
        for kind in ROWS:
            steps.append(made.step())
            made.handle(part(kind, [IDS.index(sample_id)]))
    # two messages a sample, four samples a batch: the try after the eighth and the sixteenth message finds a batch
    assert [at for at, stepped in enumerate(steps) if stepped] == [8, 16]
    assert made.progress == (2, 9)
    while made.step():
        pass
    assert made.progress == (9, 9)
    assert same(trained(made), undisturbed)


@pytest.mark.parametrize("broken_off", range(10))
def test_a_training_that_goes_on_elsewhere_ends_with_the_same_bits(
    broken_off: int, undisturbed: dict[str, torch.Tensor]
) -> None:
    made = full()
    for _ in range(broken_off):
        assert made.step()
    state, cache = made.state(), made._cache
    made.step()
    elsewhere = server()
    elsewhere.keep_in(cache)
    elsewhere.load(state)
    assert elsewhere.progress == (broken_off, 9)
    assert same(trained(elsewhere), undisturbed)


def test_a_private_training_goes_on_elsewhere_with_the_same_draws() -> None:
    whole = trained(full(PRIVATE))
    made = full(PRIVATE)
    assert made.step()
    elsewhere = server(PRIVATE)
    elsewhere.keep_in(made._cache)
    elsewhere.load(made.state())
    assert same(trained(elsewhere), whole)
    assert not same(whole, trained(full()))


def test_every_sample_is_trained_on_once_an_epoch_in_an_order_of_its_own() -> None:
    orders = [ordered("seed", epoch, IDS) for epoch in range(20)]
    assert all(sorted(order) == sorted(IDS) for order in orders)
    assert len({tuple(order) for order in orders}) == 20
    assert ordered("seed", 3, IDS[::-1]) == orders[3]
    assert ordered("other", 3, IDS) != orders[3]
    first = [order.index(IDS[0]) for order in (ordered("seed", epoch, IDS) for epoch in range(3000))]
    assert sum(first) / len(first) == pytest.approx(4.5, abs=0.27)  # five standard errors of a uniform place


# --- what is lost, and what has to go -------------------------------------------------------------------------


def test_what_the_store_has_lost_is_wanted_again_and_nothing_is_trained_without_it(
    undisturbed: dict[str, torch.Tensor],
) -> None:
    made = full()
    made.handle(message("train"))
    made._cache.forget([IDS[4], IDS[6]])
    answer = made.handle(message("train", round=1))
    assert (answer.kind, answer.sample_ids) == ("wanted", (IDS[4], IDS[6]))
    for kind in ROWS:
        made.handle(part(kind, [4, 6]))
    assert same(trained(made), undisturbed)


def test_forgetting_everything_leaves_a_server_that_never_was_trained() -> None:
    made = full()
    trained(made)
    made.handle(message("forget"))
    assert same(weights(made), weights(server()))
    with pytest.raises(ProtocolError, match="no samples were announced"):
        made.handle(message("train"))


def test_forgetting_some_samples_drops_the_network_that_was_trained_on_them() -> None:
    made = full()
    trained(made)
    made.handle(message("forget", IDS[:3]))
    assert same(weights(made), weights(server()))
    without = server()
    without.handle(message("samples", IDS[3:]))
    for kind in ROWS:
        without.handle(part(kind, list(range(3, 10))))
    assert same(trained(made), trained(without))


def test_with_privacy_samples_are_forgotten_together_and_no_noise_is_drawn_twice() -> None:
    made = full(PRIVATE)
    first = trained(made)
    with pytest.raises(ProtocolError, match="let all samples be forgotten, not some"):
        made.handle(message("forget", IDS[:3]))
    assert same(weights(made), first)
    made.handle(message("forget"))
    made.handle(message("samples", IDS))
    for kind in ROWS:
        made.handle(part(kind, list(range(10))))
    elsewhere = server(PRIVATE)
    elsewhere.keep_in(made._cache)
    elsewhere.load(made.state())
    second = trained(made)
    assert not same(second, first)
    assert same(trained(elsewhere), second)


# --- what is refused, and changes nothing ---------------------------------------------------------------------

STRANGER = "ff" * 8
WRONG = {
    "other samples": message("samples", IDS[:9]),
    "no samples": message("samples"),
    "a sample twice in the list": message("samples", (IDS[0], *IDS)),
    "a sample nobody announced": message("activations", (STRANGER,), tensors={"activations": ROWS["activations"][:1]}),
    "a sample twice in a message": message("difference", (IDS[0],) * 2, tensors={"difference": ROWS["difference"][:2]}),
    "a row too many": message("difference", IDS[:1], tensors={"difference": ROWS["difference"][:2]}),
    "a layer too few": message("activations", IDS[:1], tensors={"activations": ROWS["activations"][:1, :2]}),
    "other values": message("difference", IDS[:1], tensors={"difference": ROWS["difference"][1:2]}),
    "no number": message("difference", IDS[:1], tensors={"difference": torch.full((1, 5), nan)}),
    "endless": message("activations", IDS[:1], tensors={"activations": torch.full((1, 3, 8), inf)}),
    "another tensor": message("difference", IDS[:1], tensors={"labels": ROWS["difference"][:1]}),
    "an epoch too far": message("train", round=3),
    "an unknown kind": message("labels"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_does_not_belong_is_refused_and_changes_nothing(
    wrong: Message, undisturbed: dict[str, torch.Tensor]
) -> None:
    made = full()
    with pytest.raises(ProtocolError) as refused:
        made.handle(wrong)
    assert "\n" not in str(refused.value)
    assert same(trained(made), undisturbed)


def test_whole_numbers_in_place_of_a_difference_are_refused() -> None:
    whole = replace(part("difference", [0]), tensors={"difference": torch.ones(1, 5, dtype=torch.int64)})
    with pytest.raises(ProtocolError, match="whole numbers"):
        announced().handle(whole)
