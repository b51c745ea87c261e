"""Runs of several devices over a network: each in its own place, and the same bytes and weights as in one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sidelight.system.errors import ProtocolError, UsageError
from sidelight.system.message import Message, Party
from sidelight.system.network import runs
from sidelight.system.network.device_wire import DeviceWire
from sidelight.system.network.runs import Place
from sidelight.system.protocols import Scene
from sidelight.system.protocols.agreed import MOST_DEVICES
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.mesfl import MeSFL
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.split import Split
from sidelight.system.protocols.splitfed import SplitFed
from sidelight.system.protocols.splitlora import SplitLoRA
from sidelight.system.protocols.ushape import UShape
from sidelight.system.roles import SERVER, Device

from ...contracts.micro import VICTIM, Micro, make_scene, record
from .served import Served, serving

LORA = LoraTraining(rank=4, epochs=2, batch=8)
THREE: dict[str, Any] = {"lora": LORA, "fleet": Fleet(devices=3)}
PARTIES = ("device-0", "device-1", "device-2")
SECRET = "cafe"
TEXTS = [sample.text for sample in VICTIM]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def served(micro: Micro, tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "store", backbone=str(micro.folders["opt"])) as found:
        yield found


def scene_of(micro: Micro, protocol: Split) -> Scene:
    return replace(make_scene(micro.backbone("opt"), protocol=protocol), server_seed=SECRET)


def own(scene: Scene, party: Party) -> Scene:
    """What one device has: of the others the names."""
    return replace(scene, samples={one: rows if one == party else () for one, rows in scene.samples.items()})


def joined(served: Served, stack: ExitStack, protocol: Split, scene: Scene, party: Party, **other: str) -> DeviceWire:
    """The wire of a device, by default of the phone of the party's number, that has its place."""
    wire = stack.enter_context(served.wire(other.get("name", party.replace("device", "phone"))))
    wire.join(protocol.agreed(own(scene, party)), Place(other.get("run", "night"), party))
    return wire


def in_turn(served: Served, stack: ExitStack, protocol: Split, scene: Scene) -> dict[Party, tuple[Device, DeviceWire]]:
    """All devices' work, an exchange of each at a time."""
    wires = {party: joined(served, stack, protocol, scene, party) for party in scene.samples}
    found = {party: (protocol.device(own(scene, party), party), wire) for party, wire in wires.items()}
    works = [device.work(wire) for device, wire in found.values()]
    while works:
        works = [work for work in works if next(work, StopIteration) is not StopIteration]
    return found


@pytest.mark.parametrize(
    "protocol",
    [
        SplitFed(**THREE),
        SplitFed(**THREE, version="v2", bottom="frozen", precision="fp16"),
        SplitFed(lora=LORA, fleet=Fleet(devices=3, participation=0.67)),
        SplitLoRA(**THREE, every=1),
        MeSFL(**THREE, cuts=(1, 2)),
    ],
    ids=["splitfed", "splitfed v2 frozen", "splitfed drawn", "splitlora", "mesfl"],
)
def test_the_same_bytes_cross_and_the_same_models_come_about(micro: Micro, served: Served, protocol: Split) -> None:
    scene = scene_of(micro, protocol)
    here = record(protocol, scene)
    with ExitStack() as stack:
        found = in_turn(served, stack, protocol, scene)
        sent: Counter[tuple[str, Party, Party]] = Counter()
        for _, wire in found.values():
            sent += wire.traffic.bytes
        assert sent == here.traffic.bytes
        for party, (device, _) in found.items():
            role = here.roles[party]
            assert isinstance(role, Device)
            assert torch.equal(device.predict(TEXTS), role.predict(TEXTS))


@pytest.mark.parametrize("protocol", [SplitFed(**THREE), MeSFL(**THREE)], ids=["splitfed", "mesfl"])
def test_devices_at_once_wait_for_each_other_and_end_with_one_model(
    micro: Micro, served: Served, protocol: Split
) -> None:
    scene = scene_of(micro, protocol)
    theirs = {party: own(replace(scene, backbone=micro.backbone("opt")), party) for party in PARTIES}

    def worked(party: Party) -> Device:
        with ExitStack() as stack:
            wire = joined(served, stack, protocol, theirs[party], party)
            device = protocol.device(theirs[party], party)
            for _ in device.work(wire):
                pass
        return device

    with ThreadPoolExecutor(3) as pool:
        devices = list(pool.map(worked, PARTIES))
    scores = [device.predict(TEXTS) for device in devices]
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[0], scores[2])
    # their batches do not meet before the first average: what is averaged does not depend on who was quicker
    role = record(protocol, scene).roles[PARTIES[0]]
    assert isinstance(role, Device)
    assert torch.allclose(scores[0], role.predict(TEXTS), atol=1e-5)


def test_a_stranger_is_kept_out_and_a_place_is_one_devices(micro: Micro, served: Served) -> None:
    protocol = SplitFed(**THREE)
    scene = scene_of(micro, protocol)
    with ExitStack() as stack:
        joined(served, stack, protocol, scene, "device-0")
        with pytest.raises(UsageError, match="another secret"):
            joined(served, stack, protocol, replace(scene, server_seed="beef"), "device-1")
        with pytest.raises(UsageError, match="other settings"):
            joined(served, stack, replace(protocol, every=1), scene, "device-1")
        with pytest.raises(UsageError, match="another device is device-0"):
            joined(served, stack, protocol, scene, "device-0", name="phone-1")
        wire = stack.enter_context(served.wire("phone-1"))
        with pytest.raises(UsageError, match="no device of that name; give device-0 to device-2"):
            wire.join(protocol.agreed(scene), Place("night", "device-3"))
        joined(served, stack, protocol, scene, "device-1")
        with pytest.raises(UsageError, match="this device is device-1 of the run already"):
            joined(served, stack, protocol, scene, "device-2", name="phone-1")
        joined(served, stack, protocol, scene, "device-0", name="phone-7", run="morning")


def test_nobody_speaks_for_another(micro: Micro, served: Served) -> None:
    protocol = SplitFed(**THREE)
    scene = scene_of(micro, protocol)
    with ExitStack() as stack:
        joined(served, stack, protocol, scene, "device-0")
        wire = joined(served, stack, protocol, scene, "device-1")
        with pytest.raises(ProtocolError, match="the caller is device-1 in its run and speaks as another"):
            wire.request(Message("leave", "device-0", SERVER))
        with pytest.raises(ProtocolError, match="send to federation or server"):
            wire.request(Message("leave", "device-1", "device-0"))
        assert wire.request(Message("leave", "device-1", SERVER)).kind == "ready"


def test_who_begins_again_waits_until_the_others_are_gone(
    micro: Micro, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = SplitFed(**THREE)
    scene = scene_of(micro, protocol)
    with ExitStack() as stack:
        first = joined(served, stack, protocol, scene, "device-0")
        joined(served, stack, protocol, scene, "device-0")  # as one whose answer was lost
        other = joined(served, stack, protocol, scene, "device-1")
        first.request(Message("leave", "device-0", SERVER))
        with pytest.raises(UsageError, match="others are still in it"):
            joined(served, stack, protocol, scene, "device-0")
        other.request(Message("forget", "phone-1", SERVER))
        with pytest.raises(UsageError, match="no run of this device"):
            other.request(Message("leave", "device-1", SERVER))
        joined(served, stack, protocol, scene, "device-0")
        joined(served, stack, protocol, scene, "device-1").request(Message("leave", "device-1", SERVER))
        monkeypatch.setattr(runs, "SILENT", -1.0)  # all of them have said nothing for too long
        joined(served, stack, replace(protocol, every=1), scene, "device-1")


def test_a_run_that_is_over_can_be_begun_again_and_holds_nothing(micro: Micro, served: Served) -> None:
    protocol = SplitFed(**THREE)
    scene = scene_of(micro, protocol)
    with ExitStack() as stack:
        before = in_turn(served, stack, protocol, scene)
        _, wire = before["device-0"]
        with pytest.raises(UsageError, match="the run is over"):
            wire.request(Message("download", "device-0", SERVER))
        again = in_turn(served, stack, protocol, scene)
        for party, (device, _) in again.items():
            assert torch.equal(device.predict(TEXTS), before[party][0].predict(TEXTS))


def test_a_request_that_comes_again_is_done_once_for_each_device(micro: Micro, served: Served) -> None:
    protocol = SplitFed(**THREE)
    scene = scene_of(micro, protocol)
    here = record(protocol, scene)
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        once = DeviceWire._once

        def twice(wire: DeviceWire, data: bytes) -> bytes:
            answer = once(wire, data)
            assert once(wire, data) == answer
            return answer

        patch.setattr(DeviceWire, "_once", twice)
        device, _ = in_turn(served, stack, protocol, scene)["device-2"]
    role = here.roles["device-2"]
    assert isinstance(role, Device)
    assert torch.equal(device.predict(TEXTS), role.predict(TEXTS))


@pytest.mark.parametrize("kind", [Split, UShape])
def test_devices_that_hand_their_part_on_are_refused_with_the_reason(micro: Micro, kind: type[Split]) -> None:
    with pytest.raises(UsageError, match="no device reaches another"):
        kind(**THREE).agreed(make_scene(micro.backbone("opt")))


def test_what_a_run_needs_is_asked_for(micro: Micro, served: Served) -> None:
    protocol, alone = SplitFed(**THREE), PAE()
    scene = scene_of(micro, protocol)
    with pytest.raises(UsageError, match="share a secret"):
        protocol.agreed(replace(scene, server_seed=""))
    with pytest.raises(UsageError, match=f"at most {MOST_DEVICES} to a run"):
        replace(protocol, fleet=Fleet(devices=MOST_DEVICES + 1)).agreed(scene)
    with served.wire() as wire:
        with pytest.raises(UsageError, match="name a run and a party"):
            wire.join(protocol.agreed(scene))
        with pytest.raises(UsageError, match="name no run"):
            wire.join(alone.agreed(make_scene(micro.backbone("opt"))), Place("night", "device-0"))
        with pytest.raises(UsageError, match="run or party of the terms"):
            wire.join(protocol.agreed(scene), Place("../night", "device-0"))
