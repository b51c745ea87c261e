"""The same roles in two processes: the same bytes, the same weights, whatever breaks off in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.system.errors import ProtocolError, StoreFull, UsageError
from sidelight.system.message import Message, encode
from sidelight.system.network.device_wire import DeviceWire
from sidelight.system.protocols import Scene
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.mobillm import MobiLLM
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.pae_lm import PAELM
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.protocols.split import Split
from sidelight.system.protocols.ushape import UShape
from sidelight.system.roles import DEVICE, SERVER

from ...contracts.micro import AUXILIARY, VICTIM, Micro, make_scene, record
from .served import Served, same, serving, tuned, worked

LORA = LoraTraining(rank=4, epochs=2, batch=8)
SIDE = SideTraining(bottleneck=8, epochs=3, batch=12, learning_rate=2e-2)

LM = PAELM(side=SIDE, entries=8, precision="fp16")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "store") as found:
        yield found


def pae(**settings: Any) -> PAE:
    return PAE(**{"side": SIDE, "batch": 10, **settings})


def scene_of(micro: Micro) -> Scene:
    return make_scene(micro.backbone("opt"))


@pytest.mark.parametrize(
    "protocol",
    [pae(precision="fp16"), pae(precision="int4"), pae(selector="last", difference="logit"), MobiLLM(side=SIDE), LM],
    ids=["pae fp16", "pae int4", "pae last logit", "mobillm", "language"],
)
def test_over_a_network_the_same_bytes_cross_and_the_same_weights_come_back(
    micro: Micro, served: Served, protocol: PAE | MobiLLM | PAELM
) -> None:
    scene = scene_of(micro)
    here = record(protocol, scene)
    with served.wire() as wire:
        device = worked(wire, protocol, scene)
        assert same(tuned(device), dict(here.roles[SERVER].held()["tuned"]))
        assert wire.traffic == here.traffic
    texts = [sample.text for sample in VICTIM]
    assert torch.equal(device.predict(texts), here.device.predict(texts))


@pytest.mark.parametrize(
    "protocol",
    [
        Split(lora=LORA),
        Split(lora=LORA, bottom="trainable", precision="fp16"),
        Split(lora=replace(LORA, full=True), bottom="trainable"),
        UShape(lora=LORA, bottom="trainable"),
    ],
    ids=["frozen", "trainable", "full", "ushape"],
)
def test_the_split_protocols_run_over_the_same_network(micro: Micro, tmp_path: Path, protocol: Split) -> None:
    scene = scene_of(micro)
    here = record(protocol, scene)
    with serving(tmp_path / "store", backbone=str(micro.folders["opt"])) as served, served.wire() as wire:
        device = worked(wire, protocol, scene_of(micro))
        assert wire.traffic == here.traffic
    texts = [sample.text for sample in VICTIM]
    assert torch.equal(device.predict(texts), here.device.predict(texts))


def test_a_split_protocol_needs_the_same_backbone_at_the_server_and_one_device(
    micro: Micro, served: Served, tmp_path: Path
) -> None:
    split = Split(lora=LORA)
    with served.wire() as wire, pytest.raises(UsageError, match="needs the device's backbone"):
        wire.join(split.agreed(scene_of(micro)))
    other = serving(tmp_path / "other", backbone=str(micro.folders["llama"]))
    with other as found, found.wire() as wire, pytest.raises(UsageError, match="needs the device's backbone"):
        wire.join(split.agreed(scene_of(micro)))
    with pytest.raises(UsageError, match="runs in one process only"):
        Split(lora=LORA, fleet=Fleet(devices=2)).agreed(scene_of(micro))


@pytest.mark.parametrize("protocol", [pae(), LM], ids=["pae", "language"])
def test_epochs_send_no_activation_and_no_difference_again(micro: Micro, served: Served, protocol: PAE | PAELM) -> None:
    kinds: list[str] = []
    with served.wire() as wire:
        encoded = wire._encoded

        def noted(message: Message) -> bytes:
            kinds.append(message.kind)
            return encoded(message)

        wire._encoded = noted  # type: ignore[method-assign]
        worked(wire, protocol, scene_of(micro))
    first = kinds.index("train")
    assert set(kinds[:first]) == {"samples", "activations", "difference"}
    assert kinds[first:] == ["train"] * SIDE.epochs + ["download"]


def test_devices_are_apart_whatever_their_names_and_seeds(micro: Micro, served: Served) -> None:
    protocol = pae()
    scenes = {f"phone-{i}": make_scene(micro.backbone("opt"), seed=str(i)) for i in range(3)}
    wires = {name: DeviceWire(served.connection(name)) for name in scenes}
    works = {}
    for name, scene in scenes.items():
        wires[name].join(protocol.agreed(scene))
        device = protocol.device(scene, DEVICE)
        works[name] = device, device.work(wires[name])
    left = dict(works)
    while left:
        for name, (_, work) in list(left.items()):
            if next(work, StopIteration) is StopIteration:
                del left[name]
    for name, scene in scenes.items():
        assert same(tuned(works[name][0]), dict(record(protocol, scene).roles[SERVER].held()["tuned"]))
        wires[name].close()


@pytest.mark.parametrize("stopped", range(1, 12, 2))
def test_a_server_that_ends_and_begins_again_goes_on_where_it_was(micro: Micro, tmp_path: Path, stopped: int) -> None:
    protocol, scene = pae(), scene_of(micro)
    device = protocol.device(scene, DEVICE)
    with serving(tmp_path / "store") as served, served.wire() as wire:
        wire.join(protocol.agreed(scene))
        work = device.work(wire)
        for _ in range(stopped):
            next(work, None)
    again = protocol.device(scene, DEVICE)
    with serving(tmp_path / "store") as served, served.wire() as wire:
        wire.join(protocol.agreed(scene))
        for _ in again.work(wire):
            pass
        sent = {kind for kind, sender, _ in wire.traffic.messages if sender == DEVICE}
        assert ("activations" in sent) == (stopped < 5)  # five batches of ten: from then on all of them are there
    assert same(tuned(again), dict(record(protocol, scene).roles[SERVER].held()["tuned"]))


def test_a_request_that_comes_again_is_done_once(micro: Micro, served: Served) -> None:
    """Of a protocol whose messages would train a second time."""
    protocol, scene = MobiLLM(side=SIDE), scene_of(micro)
    with served.wire() as wire:
        carry = wire._carry

        def twice(message: Message, data: bytes) -> Message:
            carry(message, data)
            return carry(message, data)

        wire._carry = twice  # type: ignore[method-assign]
        device = worked(wire, protocol, scene)
    assert same(tuned(device), dict(record(protocol, scene).roles[SERVER].held()["tuned"]))


def test_other_terms_are_refused_until_the_device_is_forgotten(micro: Micro, served: Served) -> None:
    scene = scene_of(micro)
    with served.wire() as wire:
        worked(wire, pae(), scene)
        longer = pae(side=SideTraining(bottleneck=8, epochs=4, batch=12))
        with pytest.raises(UsageError, match="has agreed on another training"):
            wire.join(longer.agreed(scene))
        assert wire.request(Message("forget", DEVICE, SERVER)).kind == "ready"
        wire.join(longer.agreed(scene))


def test_after_forgetting_no_byte_of_the_device_is_left_in_the_store(micro: Micro, tmp_path: Path) -> None:
    protocol, scene = pae(), scene_of(micro)
    with serving(tmp_path / "store") as served:
        with served.wire("stays") as wire:
            others = replace(make_scene(micro.backbone("opt"), seed="other"), samples={DEVICE: AUXILIARY})
            other = worked(wire, protocol, others)
        with served.wire("goes") as wire:
            device = worked(wire, protocol, scene)
            secrets = {
                "activations": device._kept.rows("activations", [VICTIM[0].id]),  # type: ignore[attr-defined]
                "difference": device._kept.rows("difference", [VICTIM[0].id]),  # type: ignore[attr-defined]
                "side network": tuned(device)["down"][0, 0],
            }
            found = everything(tmp_path / "store")
            assert all(secret.numpy().tobytes() in found for secret in secrets.values())
            wire.request(Message("forget", DEVICE, SERVER))
            found = everything(tmp_path / "store")
            for what, secret in secrets.items():
                assert secret.numpy().tobytes() not in found, what
            assert scene.streams.of("server").seed.encode() not in found
            with pytest.raises(UsageError, match="no run of this device"):
                wire.request(Message("download", DEVICE, SERVER))
        assert tuned(other)["down"][0, 0].numpy().tobytes() in found


def everything(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file())


def test_a_full_quota_refuses_and_keeps_what_was_acknowledged(micro: Micro, tmp_path: Path) -> None:
    protocol, scene = pae(), scene_of(micro)
    refused = pytest.raises(StoreFull, match="9,000 bytes may be kept")
    with serving(tmp_path / "store", quota=9_000) as served, served.wire() as wire, refused:
        worked(wire, protocol, scene)
    with serving(tmp_path / "store") as served, served.wire() as wire:
        device = worked(wire, protocol, scene)
        assert wire.traffic.messages["activations", DEVICE, SERVER] == 3  # of five: two were there
    assert same(tuned(device), dict(record(protocol, scene).roles[SERVER].held()["tuned"]))


def test_what_the_server_refuses_is_said_by_the_next_call(micro: Micro, served: Served) -> None:
    protocol, scene = pae(), scene_of(micro)
    with served.wire() as wire:
        wire.join(protocol.agreed(scene))
        tensors = {"activations": torch.zeros(1, 3, 32)}
        wire.post(Message("activations", DEVICE, SERVER, sample_ids=("00" * 8,), tensors=tensors))
        with pytest.raises(ProtocolError, match="1 samples were not announced"):
            wire.request(Message("download", DEVICE, SERVER))


def test_nothing_but_names_and_numbers_is_logged(micro: Micro, served: Served) -> None:
    with served.wire("phone-7") as wire:
        worked(wire, pae(), scene_of(micro))
    told = served.log.getvalue()
    assert {event["event"] for event in served.events} == {"serving", "joined", "answered"}
    assert {event["device"] for event in served.events if "device" in event} == {"phone-7"}
    private = [*(s.text for s in VICTIM), *(s.id for s in VICTIM), *{s.label for s in VICTIM}, "seed"]
    assert [one for one in private if one in told] == []


def test_messages_cross_as_the_schema_says_whatever_their_size(micro: Micro, served: Served) -> None:
    """One that needs many pieces, and its answer."""
    protocol = pae(side=SideTraining(bottleneck=2048, epochs=1, batch=48), batch=48)
    scene = scene_of(micro)
    with served.wire() as wire:
        device = worked(wire, protocol, scene)
    assert len(encode(Message("tuned", SERVER, DEVICE, tensors=tuned(device)))) > 1 << 20
    assert same(tuned(device), dict(record(protocol, scene).roles[SERVER].held()["tuned"]))
