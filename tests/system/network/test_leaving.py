"""Devices that go: in the middle of a training, without a word, or slowly; and what they leave to the others."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import torch

from sidelight.benchmarks.beside import beside
from sidelight.system.errors import SidelightError
from sidelight.system.message import Message
from sidelight.system.network import house
from sidelight.system.network import network_pb2 as schema
from sidelight.system.network.access import DEVICE as NAMED
from sidelight.system.network.device_wire import Connection, DeviceWire
from sidelight.system.network.logs import Log
from sidelight.system.network.server import ServerSettings
from sidelight.system.network.service import NAME, Limits
from sidelight.system.network.turns import Turns
from sidelight.system.protocols.agreed import Agreed, SideAgreed
from sidelight.system.protocols.mobillm import MobiLLM
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.side_network import SideShape

from ...contracts.micro import Micro, make_scene
from .served import serving, worked

SHAPE = SideShape(layers=4, width=64, bottleneck=64, outputs=8)
LONG = Agreed("pae", "abc", SideAgreed(SHAPE, SideTraining(bottleneck=64, epochs=5000, batch=8)))
IDS = tuple(f"{i:016x}" for i in range(64))


def sent(wire: DeviceWire) -> None:
    """Everything that a long training needs: it goes on by itself from then on."""
    generator = torch.Generator().manual_seed(0)
    wire.join(LONG)
    wire.request(Message("samples", DEVICE, SERVER, sample_ids=IDS))
    for kind, shape in (("activations", (4, 64)), ("difference", (8,))):
        tensors = {kind: torch.randn(len(IDS), *shape, generator=generator)}
        wire.request(Message(kind, DEVICE, SERVER, sample_ids=IDS, tensors=tensors))


def test_who_is_forgotten_in_the_middle_of_its_training_leaves_nothing_and_may_come_again(tmp_path: Path) -> None:
    with serving(tmp_path / "store") as served, served.wire("phone") as wire:
        for _ in range(3):
            sent(wire)
            before = wire.request(Message("download", DEVICE, SERVER)).tensors
            time.sleep(0.2)  # it trains
            after = wire.request(Message("download", DEVICE, SERVER)).tensors
            assert not torch.equal(before["down"], after["down"])
            wire.request(Message("forget", DEVICE, SERVER))
            time.sleep(0.2)  # a turn that still went on would bring its area back
            assert [path.name for path in (tmp_path / "store").iterdir() if path.is_dir()] == []
        wire.join(LONG)
        fresh = wire.request(Message("download", DEVICE, SERVER)).tensors
        assert float(fresh["up"].abs().max()) == 0.0


def test_a_device_that_is_silent_makes_room_for_others_where_its_run_does_not_outlive_it(
    micro: Micro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = MobiLLM(side=SideTraining(bottleneck=4, epochs=1, batch=24))
    scene = make_scene(micro.backbone("opt"))
    with serving(tmp_path / "store", devices=1) as served:
        with served.wire("first") as wire:
            worked(wire, protocol, scene)
        with served.wire("second", patience=0.5) as wire, pytest.raises(SidelightError, match="holds 1 devices"):
            wire.join(protocol.agreed(scene))
        monkeypatch.setattr(house, "SILENT", 0.0)
        with served.wire("second") as wire:
            worked(wire, protocol, scene)
        areas = {path.name for path in (tmp_path / "store").iterdir() if path.is_dir()}
        assert areas == {"first", "second"}


def test_a_refused_device_leaves_no_area(micro: Micro, tmp_path: Path) -> None:
    with serving(tmp_path / "store") as served, served.wire("refused") as wire:
        with pytest.raises(SidelightError, match="knows no protocol"):
            wire.join(Agreed("nothing", "abc", LONG.side))
        assert [path for path in (tmp_path / "store").iterdir() if path.is_dir()] == []


def test_who_dribbles_is_hung_up_on_before_the_message_is_whole(tmp_path: Path) -> None:
    def dribbling() -> Iterator[schema.Chunk]:
        yield schema.Chunk(size=1 << 20, data=b"x")
        for _ in range(200):
            time.sleep(0.05)
            yield schema.Chunk(data=b"x")

    settings = ServerSettings(
        "localhost:0", tmp_path / "store", limits=Limits(largest=1 << 20, room=1 << 20, patience=0.4)
    )
    with beside(settings, Log(io.StringIO())) as port:
        began = time.monotonic()
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            exchange = channel.stream_stream(
                f"/{NAME}/Exchange", schema.Chunk.SerializeToString, schema.Answer.FromString
            )
            with pytest.raises(grpc.RpcError) as refused:
                list(exchange(dribbling(), metadata=((NAMED, "slow"),), timeout=30))
        lasted = time.monotonic() - began
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert lasted < 8  # of ten seconds of dribbling: each piece came in time, all together did not
        wire = DeviceWire(Connection(f"localhost:{port}", "other", patience=5.0))
        wire.join(LONG)  # the room is free again
        wire.close()


class Late:
    """Stands for a resident to which something comes just after it has looked."""

    def __init__(self, turns: list[Turns]) -> None:
        self.device, self._turns, self.looked, self.users = "late", turns, 0, 0

    def enter(self) -> None:
        self.users += 1

    def leave(self) -> None:
        self.users -= 1

    def train(self, seconds: float) -> bool:
        self.looked += 1
        if self.looked == 1:
            self._turns[0].join(self)  # type: ignore[arg-type]
        return False


def test_what_comes_during_a_turn_is_looked_at_in_another_one() -> None:
    turns: list[Turns] = []
    turns.append(Turns(1, lambda resident, error: None))
    late = Late(turns)
    turns[0].join(late)  # type: ignore[arg-type]
    until = time.monotonic() + 10
    while turns[0].waits(late) and time.monotonic() < until:  # type: ignore[arg-type]
        time.sleep(0.001)
    turns[0].close()
    assert (late.looked, late.users) == (2, 0)
