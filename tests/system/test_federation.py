"""Federated averaging: its mean, and devices that are late, repeat themselves, lie or vanish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from sidelight.system.errors import ProtocolError
from sidelight.system.federation import FEDERATION, Federation
from sidelight.system.message import Message
from sidelight.system.protocols import interleave
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.protocol import even_batches
from sidelight.system.roles import SERVER, Device, device_name
from sidelight.system.wire import Wire

from ..contracts.micro import VICTIM, Micro, make_scene, record
from ..contracts.variants import made
from .test_unsplit import EPOCHS, Unsplit, trained_whole, weights_of

A, B, C = (device_name(i) for i in range(3))
START = {"w": torch.zeros(2, 3)}


def update(sender: str, value: float, round_: int = 0, shape: tuple[int, ...] = (2, 3)) -> Message:
    return Message("update", sender, FEDERATION, round_, tensors={"w": torch.full(shape, value)})


def fetched(federation: Federation, sender: str, round_: int = 0) -> Message:
    return federation.handle(Message("fetch", sender, FEDERATION, round_))


def averaged(federation: Federation) -> float:
    return float(federation.held()["average"]["w"][0, 0])


def test_the_average_is_the_mean_once_all_have_sent() -> None:
    federation = Federation((A, B, C), START)
    for sender, value in ((A, 1.0), (B, 2.0)):
        federation.handle(update(sender, value))
        assert fetched(federation, A).kind == "wait"
    federation.handle(update(C, 6.0))
    answer = fetched(federation, B)
    assert (answer.kind, answer.round) == ("average", 1)
    torch.testing.assert_close(answer.tensors["w"], torch.full((2, 3), 3.0))


@pytest.mark.parametrize(
    ("message", "incident"),
    [
        (update(A, 100.0), "repeated"),
        (update(B, 100.0, round_=3), "stale"),
        (update(B, 100.0, shape=(2, 4)), "malformed"),
        (update(B, float("nan")), "malformed"),
        (replace(update(B, 1.0), tensors={"w": torch.ones(2, 3, dtype=torch.int64)}), "malformed"),
        (update(B, 1e30), "malformed"),
        (replace(update(B, 1.0), tensors={}), "malformed"),
        (replace(update(B, 1.0), tensors={**update(B, 1.0).tensors, "more": torch.zeros(1)}), "malformed"),
    ],
)
def test_what_no_honest_device_sends_changes_nothing_and_is_noted(message: Message, incident: str) -> None:
    federation = Federation((A, B), START)
    federation.handle(update(A, 1.0))
    federation.handle(message)
    federation.handle(update(B, 3.0))
    assert averaged(federation) == 2.0
    assert federation.incidents() == {f"{message.sender} {incident}": 1}


def test_who_vanishes_is_waited_for_as_long_as_stated_and_may_come_back() -> None:
    federation = Federation((A, B), START, patience=5)
    federation.handle(update(A, 1.0))
    assert [fetched(federation, A).kind for _ in range(6)] == ["wait"] * 5 + ["average"]
    assert federation.incidents() == {f"{B} absent": 1}
    assert averaged(federation) == 1.0
    federation.handle(update(B, 50.0))  # late: the round is over
    assert federation.incidents()[f"{B} stale"] == 1
    federation.handle(update(B, 3.0, round_=1))
    federation.handle(update(A, 5.0, round_=1))
    assert averaged(federation) == 4.0


def test_who_has_sent_nothing_ends_no_round_however_often_it_asks() -> None:
    federation = Federation((A, B, C), START, patience=5)
    for kind in ("fetch", "final"):
        assert {federation.handle(Message(kind, B, FEDERATION)).kind for _ in range(20)} == {"wait"}
    for sender, value in ((A, 1.0), (B, 2.0), (C, 3.0)):
        federation.handle(update(sender, value))
    assert averaged(federation) == 2.0
    assert federation.incidents() == {}


def test_who_was_given_up_on_and_asks_is_there_again_though_nobody_else_is_left() -> None:
    federation = Federation((A, B), START, patience=3, drawn=lambda round_: frozenset({A if round_ == 0 else B}))
    federation.handle(Message("leave", A, FEDERATION))
    for _ in range(5):
        federation.handle(Message("final", A, FEDERATION))  # gives up on B, which is not drawn
    asked = [fetched(federation, B).kind for _ in range(5)]
    assert asked[-1] == "average"  # of nobody: as it was, in the next round
    federation.handle(update(B, 4.0, round_=1))
    assert averaged(federation) == 4.0


def test_who_left_is_no_longer_waited_for_and_changes_nothing_any_more() -> None:
    federation = Federation((A, B), START)
    federation.handle(Message("leave", A, FEDERATION))
    assert federation.handle(Message("final", A, FEDERATION)).kind == "wait"
    federation.handle(update(A, 100.0))
    federation.handle(update(B, 3.0))
    assert averaged(federation) == 3.0
    assert federation.incidents() == {f"{A} stale": 1}
    federation.handle(Message("leave", B, FEDERATION))
    assert federation.handle(Message("final", A, FEDERATION)).kind == "average"


def test_the_end_is_waited_for_as_long_as_somebody_trains() -> None:
    """A is done, C has vanished: giving up on C is no reason to take B's next round for the last."""
    federation = Federation((A, B, C), START, patience=3)
    federation.handle(Message("leave", A, FEDERATION))
    federation.handle(update(B, 1.0))
    assert [federation.handle(Message("final", A, FEDERATION)).kind for _ in range(4)] == ["wait"] * 4
    assert federation.incidents() == {f"{C} absent": 1}
    assert fetched(federation, B).kind == "average"
    federation.handle(Message("leave", B, FEDERATION))
    assert federation.handle(Message("final", A, FEDERATION)).kind == "average"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("bottom", ["frozen", "trainable"])
def test_all_devices_end_with_one_model_however_uneven_their_rows(micro: Micro, bottom: str, version: str) -> None:
    training = LoraTraining(rank=2, epochs=2, batch=4)
    settings = {"lora": training, "bottom": bottom, "version": version, "fleet": Fleet(3, 0.3)}
    protocol = made("splitfed", settings)
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    texts = [sample.text for sample in VICTIM]
    first, *others = (role.predict(texts) for role in run.roles.values() if isinstance(role, Device))
    assert all(torch.equal(first, other) for other in others)


def test_shared_and_replicated_bases_train_alike_and_share_what_they_say(micro: Micro) -> None:
    found: dict[str, Any] = {}
    for base in ("shared", "replicated"):
        protocol = made("splitfed", {"lora": LoraTraining(rank=2, epochs=1), "fleet": Fleet(2), "base": base})
        run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
        found[base] = run
        parts: Any = run.roles[SERVER]
        one, other = (dict(parts._parts[party].named_parameters()) for party in (A, B))
        for name, parameter in one.items():
            same = parameter.data_ptr() == other[name].data_ptr()
            assert same == (base == "shared" and not parameter.requires_grad)
    texts = [sample.text for sample in VICTIM]
    assert torch.equal(*(found[base].device.predict(texts) for base in ("shared", "replicated")))


def test_a_stranger_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no member"):
        Federation((A,), START).handle(update(B, 1.0))


class Lost(Device):
    """A device that ends in the middle of its work."""

    def __init__(self, inner: Device, steps: int) -> None:
        self.party, self._inner, self._steps = inner.party, inner, steps

    def work(self, wire: Wire) -> Iterator[None]:
        for _, step in zip(range(self._steps), self._inner.work(wire), strict=False):
            yield step

    def handle(self, message: Message) -> Message:
        return self._inner.handle(message)

    def predict(self, texts: list[str]) -> torch.Tensor:
        return self._inner.predict(texts)


def test_a_device_that_drops_out_does_not_stop_the_others(micro: Micro) -> None:
    protocol = made("splitfed", {"lora": LoraTraining(rank=2, epochs=2, batch=4), "fleet": Fleet(3), "patience": 50})
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    roles = dict(protocol.roles(scene))
    lost = roles[B]
    assert isinstance(lost, Device)
    roles[B] = Lost(lost, steps=5)
    interleave([role for role in roles.values() if isinstance(role, Device)], Wire(roles, lambda _: None))
    assert roles[FEDERATION].incidents() == roles[SERVER].incidents() == {f"{B} absent": 1}
    texts = [sample.text for sample in VICTIM]
    first, third = roles[A], roles[C]
    assert isinstance(first, Device)
    assert isinstance(third, Device)
    assert torch.equal(first.predict(texts), third.predict(texts))


class Late(Lost):
    """A device that does nothing at first."""

    def work(self, wire: Wire) -> Iterator[None]:
        for _ in range(self._steps):
            yield
        yield from self._inner.work(wire)


def test_a_device_that_was_given_up_on_joins_the_round_that_the_others_are_in(micro: Micro) -> None:
    training = LoraTraining(rank=2, epochs=3, batch=4)
    settings = {"lora": training, "fleet": Fleet(3), "every": 1, "patience": 3}
    protocol = made("splitfed", settings)
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    roles = dict(protocol.roles(scene))
    late = roles[B]
    assert isinstance(late, Device)
    roles[B] = Late(late, steps=20)
    devices = [role for role in roles.values() if isinstance(role, Device)]
    interleave(devices, Wire(roles, lambda _: None))
    found = roles[FEDERATION].incidents()
    assert found[f"{B} absent"] >= 1
    assert 1 <= found[f"{B} stale"] <= 3  # of twelve updates
    first, *others = (device.predict([sample.text for sample in VICTIM]) for device in devices)
    assert all(torch.equal(first, other) for other in others)


def test_one_local_step_of_equal_batches_is_a_step_on_the_joined_batch(micro: Micro) -> None:
    """Version 1 with plain gradient descent: the mean of steps is the step of the mean gradient."""
    training = LoraTraining(rank=2, epochs=EPOCHS, batch=4, learning_rate=0.5, rule="sgd")
    protocol: Any = made("splitfed", {"lora": training, "fleet": Fleet(3), "every": 1, "cut": 1})
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    start = weights_of(protocol.roles(scene), 1)
    run = record(protocol, scene)
    joined = joined_batches(scene)
    assert len(joined) == 20
    whole: Unsplit = trained_whole(protocol, scene, 1, start, joined)
    found = weights_of(run.roles, 1)
    for name, value in whole.model.named_parameters():
        if name in start:
            torch.testing.assert_close(found[name], value.detach(), atol=1e-5, rtol=1e-3)
    assert max(float((found[n] - start[n]).abs().max()) for n in start) > 1e-3
    torch.testing.assert_close(run.roles[SERVER].held()["tuned"]["head"], whole.head, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("full", [False, True])
def test_federated_lora_with_one_local_step_of_equal_batches_is_a_step_on_the_joined_batch(
    micro: Micro, full: bool
) -> None:
    training = LoraTraining(rank=2, epochs=EPOCHS, batch=4, learning_rate=0.05 if full else 0.5, rule="sgd", full=full)
    protocol: Any = made("fedlora", {"lora": training, "fleet": Fleet(3), "every": 1})
    scene = make_scene(micro.backbone("opt"), protocol=protocol)
    run = record(protocol, scene)
    federation = run.roles[FEDERATION].held()
    start, found = (
        {name.removeprefix("model."): t for name, t in federation[item].items()} for item in ("start", "average")
    )
    tuned = {name: t for name, t in start.items() if name not in ("head", "bias")}
    whole: Unsplit = trained_whole(protocol, scene, 1, tuned, joined_batches(scene))
    expected = {name: p.detach() for name, p in whole.model.named_parameters() if name in tuned}
    assert expected.keys() == tuned.keys()
    for name, value in {**expected, "head": whole.head, "bias": whole.bias}.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-3)
    assert max(float((found[n] - start[n]).abs().max()) for n in start) > 1e-3


def test_devices_of_federated_lora_end_with_one_model_and_send_the_federation_server_nothing_but_updates(
    micro: Micro,
) -> None:
    training = LoraTraining(rank=2, epochs=2, batch=4)
    protocol = made("fedlora", {"lora": training, "fleet": Fleet(3, 0.3), "every": 2})
    run = record(protocol, make_scene(micro.backbone("opt"), protocol=protocol))
    texts = [sample.text for sample in VICTIM]
    first, *others = (role.predict(texts) for role in run.roles.values() if isinstance(role, Device))
    assert all(torch.equal(first, other) for other in others)
    assert {m.receiver for m in run.messages if not m.receiver.startswith("device")} == {FEDERATION}
    assert {m.kind for m in run.messages if m.tensors} == {"update", "average"}
    assert not any(m.sample_ids for m in run.messages)


def joined_batches(scene: Any) -> list[tuple[int, list[int]]]:
    """Epoch and places among VICTIM of every step, over all devices."""
    place = {sample.id: i for i, sample in enumerate(VICTIM)}
    steps = []
    for party, samples in scene.samples.items():
        order = scene.streams.torch(f"{party}:order")
        lengths = [len(scene.backbone.token_ids(sample.text, 48)) for sample in samples]
        steps.append(
            [
                (epoch, [place[samples[i].id] for i in rows])
                for epoch in range(EPOCHS)
                for rows in even_batches(lengths, 4, order)
            ]
        )
    return [(parts[0][0], [i for _, rows in parts for i in rows]) for parts in zip(*steps, strict=True)]
