"""What a network and a clock do wrong: the same weights bit for bit in the end, or one clear sentence."""

from __future__ import annotations

import ast
import datetime
import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import torch

from sidelight.system.errors import ProtocolError, SidelightError
from sidelight.system.message import Message, decode, encode
from sidelight.system.network import device_wire, service
from sidelight.system.network import network_pb2 as schema
from sidelight.system.network.access import DEVICE as NAMED
from sidelight.system.network.chunks import asked
from sidelight.system.network.device_wire import Connection, DeviceWire
from sidelight.system.network.service import NAME, Limits
from sidelight.system.protocols import Protocol, Scene
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.mobillm import MobiLLM
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.protocols.split import Split
from sidelight.system.roles import DEVICE, SERVER, Device

from ...contracts.micro import VICTIM, Micro, make_scene, record
from .cutting import cutting
from .served import Served, same, serving, tuned, worked

SIDE = SideTraining(bottleneck=8, epochs=2, batch=12, learning_rate=2e-2)
PROTOCOLS: dict[str, Protocol] = {
    "pae": PAE(side=SIDE, batch=10),
    "mobillm": MobiLLM(side=SIDE),
    "split": Split(lora=LoraTraining(rank=4, epochs=2, batch=12)),
}
TEXTS = [sample.text for sample in VICTIM]
MIB = 1 << 20
each = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS.keys())


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def served(tmp_path: Path, micro: Micro) -> Iterator[Served]:
    with serving(tmp_path / "store", backbone=str(micro.folders["opt"])) as found:
        yield found


@pytest.fixture
def scene(micro: Micro) -> Scene:
    return make_scene(micro.backbone("opt"))


def undisturbed(protocol: Protocol, micro: Micro, device: Device) -> bool:
    """Whether a device's model is that of a run in one process, bit for bit."""
    here = record(protocol, make_scene(micro.backbone("opt")))
    return torch.equal(device.predict(TEXTS), here.device.predict(TEXTS)) and (
        isinstance(protocol, Split) or same(tuned(device), dict(here.roles[SERVER].held()["tuned"]))
    )


# --- the connection -------------------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("seed", [1, 2])
def test_connections_that_break_again_and_again_change_nothing(
    micro: Micro, served: Served, scene: Scene, protocol: Protocol, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_wire, "FIRST_PAUSE", 0.01)
    with cutting(served.port, seed) as cuts:
        wire = DeviceWire(Connection(f"127.0.0.1:{cuts.port}", patience=60, silence=5))
        try:
            device = worked(wire, protocol, scene)
        finally:
            wire.close()
    assert min(cuts.made["up"], cuts.made["down"]) >= 1
    assert cuts.made.total() >= 3
    assert wire.resent > 0
    assert undisturbed(protocol, micro, device)
    assert [event for event in served.events if event["event"] == "failed"] == []


class Doubled(DeviceWire):
    """Sends every request several times at once, over as many calls."""

    def _once(self, data: bytes) -> bytes:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(super()._once, [data] * 4))
        first, *others = (replace(decode(answer), step=0) for answer in answers)
        assert all(replace(other, tensors={}) == replace(first, tensors={}) for other in others)
        assert all(same(dict(other.tensors), dict(first.tensors)) for other in others)
        return answers[0]


@each
def test_a_request_that_comes_four_times_at_once_is_done_once(
    micro: Micro, served: Served, scene: Scene, protocol: Protocol
) -> None:
    wire = Doubled(served.connection())
    device = worked(wire, protocol, scene)
    wire.close()
    assert undisturbed(protocol, micro, device)


class Haunted(DeviceWire):
    """Before every request an old one comes again, drawn at random."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.sent: list[bytes] = []
        self.refused = 0
        self._generator = random.Random(3)

    def _carry(self, message: Message, data: bytes) -> Message:
        if self.sent:
            try:
                self._patiently(lambda: self._once(self._generator.choice(self.sent)))
            except ProtocolError:
                self.refused += 1
        self.sent.append(data)
        return super()._carry(message, data)


@each
def test_old_requests_that_come_again_late_change_nothing(
    micro: Micro, served: Served, scene: Scene, protocol: Protocol
) -> None:
    wire = Haunted(served.connection())
    device = worked(wire, protocol, scene)
    wire.close()
    assert len(wire.sent) > 10
    assert (wire.refused > 0) == (protocol.name != "pae")  # whose messages have no order
    assert undisturbed(protocol, micro, device)


class Swapped(DeviceWire):
    """Sends what was posted by twos, the second first: differences before activations."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._first: Message | None = None
        self.order: list[str] = []

    def post(self, message: Message) -> None:
        if self._first is None:
            self._first = message
            return
        first, self._first = self._first, None
        for one in (message, first):
            self.order.append(one.kind)
            super().post(one)


def test_differences_before_their_activations_give_the_same_weights(micro: Micro, served: Served, scene: Scene) -> None:
    protocol = PROTOCOLS["pae"]
    wire = Swapped(served.connection())
    device = worked(wire, protocol, scene)
    wire.close()
    assert wire.order[:2] == ["difference", "activations"]
    assert undisturbed(protocol, micro, device)


# --- the clock ------------------------------------------------------------------------------------------------


@each
def test_clocks_that_jump_by_days_change_nothing(
    micro: Micro, tmp_path: Path, scene: Scene, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, generator, asked_for = time.time, random.Random(1), []

    def jumping() -> float:
        asked_for.append(1)
        return real() + generator.uniform(-30, 30) * 86_400

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Jumping:
            return cls.fromtimestamp(jumping(), tz)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    monkeypatch.setattr(datetime, "datetime", Jumping)
    store = serving(tmp_path / "store", backbone=str(micro.folders["opt"]))
    with store as served, served.wire(patience=2.0, silence=2.0) as wire:
        device = worked(wire, protocol, scene)
        assert wire.resent == 0
    monkeypatch.undo()
    assert asked_for
    assert undisturbed(protocol, micro, device)


def test_nothing_but_what_is_printed_hangs_on_the_wall_clock() -> None:
    root = Path(service.__file__).parents[1]
    found = set()
    for path in [p for room in ("network", "cache", "tuning") for p in (root / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            wall = name in {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "st_mtime", "st_ctime"}
            if wall or (isinstance(node, ast.ImportFrom) and node.module == "datetime"):
                found.add(path.name)
    assert found == {"outcome.py"}  # "finished" of a summary


# --- who is slow, and who is silent ---------------------------------------------------------------------------


def test_answers_that_are_read_slowly_or_never_take_little_memory_and_hold_up_nobody(
    micro: Micro, tmp_path: Path, scene: Scene
) -> None:
    """A hundred downloads of six megabytes each that nobody reads, and one that is read with pauses."""
    protocol = PAE(side=SideTraining(bottleneck=8192, epochs=1, batch=48), batch=48)
    with serving(tmp_path / "store", limits=Limits(patience=60)) as served, served.wire("mallory") as wire:
        device = worked(wire, protocol, scene)
        size = len(encode(Message("tuned", SERVER, DEVICE, tensors=tuned(device))))
        assert size > 5 * MIB
        before = psutil.Process().memory_info().rss
        channels = [served_channel(served, at) for at in range(20)]
        calls = [downloading(channel, "mallory") for channel in channels for _ in range(5)]
        honest = PROTOCOLS["pae"]
        with served.wire("honest") as other:
            assert undisturbed(honest, micro, worked(other, honest, make_scene(micro.backbone("opt"))))
        with served_channel(served, 99) as channel:
            slow = downloading(channel, "honest")
            read = sum(len(answer.data) for answer in paused(slow))
            assert read > 0
        assert psutil.Process().memory_info().rss - before < 20 * size
        for call in calls:
            call.cancel()
        for channel in channels:
            channel.close()


def paused(answers: Any) -> Iterator[schema.Answer]:
    for answer in answers:
        time.sleep(0.2)
        yield answer


def served_channel(served: Served, at: int) -> grpc.Channel:
    """A connection of its own."""
    return grpc.insecure_channel(f"localhost:{served.port}", [("grpc.use_local_subchannel_pool", 1), ("at", at)])


def downloading(channel: grpc.Channel, name: str) -> Any:
    exchange = channel.stream_stream(f"/{NAME}/Exchange", schema.Chunk.SerializeToString, schema.Answer.FromString)
    return exchange(asked(encode(Message("download", DEVICE, SERVER))), metadata=((NAMED, name),))


def test_who_does_not_read_an_answer_is_hung_up_on(tmp_path: Path, scene: Scene) -> None:
    """And then its other requests are served, which had to wait."""
    protocol = PAE(side=SideTraining(bottleneck=8192, epochs=1, batch=48), batch=48)
    with serving(tmp_path / "store", limits=Limits(patience=0.5)) as served, served.wire("mallory") as wire:
        worked(wire, protocol, scene)
        with served_channel(served, 1) as channel:
            before = len(served.events)
            calls = [downloading(channel, "mallory") for _ in range(service.AT_ONCE)]
            while len(served.events) < before + service.AT_ONCE:  # all of them are being answered
                time.sleep(0.01)
            assert wire.request(Message("download", DEVICE, SERVER)).kind == "tuned"
            for call in calls:
                with pytest.raises(grpc.RpcError) as over:
                    list(call)
                assert over.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_server_that_is_silent_is_given_up_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        wire = DeviceWire(Connection(address, "alice", silence=0.3, patience=1.0))
        began = time.monotonic()
        with pytest.raises(SidelightError, match=f"the server at {address} does not answer"):
            wire.request(Message("download", DEVICE, SERVER))
        assert time.monotonic() - began >= 1.0
        wire.close()


def test_a_server_that_shows_progress_is_waited_for(
    micro: Micro, tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training takes longer than silence and patience together; every few moments there is a sign of it."""
    from sidelight.system.protocols import pae_server

    step, shown = pae_server.PAEServer.step, []

    def slowly(server: pae_server.PAEServer) -> bool:
        time.sleep(0.3)
        return step(server)

    monkeypatch.setattr(service, "HEARTBEAT", 0.1)
    monkeypatch.setattr(pae_server.PAEServer, "step", slowly)
    protocol = PROTOCOLS["pae"]
    with serving(tmp_path / "store") as served:
        settings = served.connection(silence=1.0, patience=1.0)
        wire = DeviceWire(settings, lambda done, total: shown.append((done, total)))
        device = worked(wire, protocol, scene)
        wire.close()
    monkeypatch.undo()
    assert len(shown) >= 5
    assert shown == sorted(shown)
    assert wire.resent == 0
    assert undisturbed(protocol, micro, device)
