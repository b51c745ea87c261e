"""What a hostile device can do: nothing but be refused, while others go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sidelight.system import message_pb2
from sidelight.system.errors import UsageError
from sidelight.system.message import Message, encode
from sidelight.system.network import network_pb2 as schema
from sidelight.system.network.access import DEVICE as NAMED
from sidelight.system.network.chunks import PIECE, asked
from sidelight.system.network.service import NAME, Limits
from sidelight.system.network.terms import read
from sidelight.system.protocols.pae import PAE
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.roles import DEVICE, SERVER

from ...contracts.micro import Micro, make_scene, record
from .served import Served, same, serving, tuned, worked

PROTOCOL = PAE(side=SideTraining(bottleneck=4, epochs=2, batch=12))
LARGEST = 1 << 20


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    before = torch.get_num_threads()
    limits = Limits(largest=LARGEST, room=2 * LARGEST, patience=0.5)
    with serving(tmp_path_factory.mktemp("store"), limits=limits) as found:
        yield found
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _the_others_go_on(served: Served, micro: Micro) -> Iterator[None]:
    """After every test another device trains as if nothing had been."""
    yield
    scene = make_scene(micro.backbone("opt"))
    with served.wire("honest") as wire:
        device = worked(wire, PROTOCOL, scene)
        wire.request(Message("forget", DEVICE, SERVER))
    assert same(tuned(device), dict(record(PROTOCOL, scene).roles[SERVER].held()["tuned"]))


@pytest.fixture
def joined(served: Served, micro: Micro) -> Iterator[Served]:
    """With a device "mallory" that may send."""
    with served.wire("mallory") as wire:
        wire.join(PROTOCOL.agreed(make_scene(micro.backbone("opt"))))
        yield served
        wire.request(Message("forget", DEVICE, SERVER))


def call(served: Served, chunks: Iterator[schema.Chunk]) -> tuple[grpc.StatusCode, str]:
    """What a stream of chunks is refused with."""
    with grpc.insecure_channel(f"localhost:{served.port}") as channel:
        exchange = channel.stream_stream(f"/{NAME}/Exchange", schema.Chunk.SerializeToString, schema.Answer.FromString)
        with pytest.raises(grpc.RpcError) as refused:
            list(exchange(chunks, metadata=((NAMED, "mallory"),), timeout=10))
    error: Any = refused.value
    return error.code(), error.details()


def refused(served: Served, data: bytes) -> tuple[grpc.StatusCode, str]:
    return call(served, asked(data))


def envelope(**fields: Any) -> bytes:
    whole = {"kind": "activations", "sender": DEVICE, "receiver": SERVER, **fields}
    return message_pb2.Envelope(**whole).SerializeToString()


def tensor(**fields: Any) -> message_pb2.Tensor:
    whole = {"name": "activations", "encoding": message_pb2.ENCODING_FLOAT32, "shape": [1], "data": bytes(4), **fields}
    return message_pb2.Tensor(**whole)


INVALID = grpc.StatusCode.INVALID_ARGUMENT
HOSTILE = {
    "no envelope": b"\xff" * 100,
    "a shape of terabytes": envelope(tensors=[tensor(shape=[1 << 20, 1 << 20])]),
    "a shape of terabytes behind a zero": envelope(tensors=[tensor(shape=[0, 4294967295, 4294967295], data=b"")]),
    "an unknown encoding": envelope(tensors=[tensor(encoding=99)]),
    "no encoding": envelope(tensors=[tensor(encoding=0)]),
    "half an id": envelope(sample_ids=b"1234"),
    "a name twice": envelope(tensors=[tensor(), tensor()]),
    "many tensors": envelope(tensors=[tensor(name=f"t{i}") for i in range(5000)]),
    "a kind with path characters": envelope(kind="../../etc/passwd"),
    "a sender with path characters": envelope(sender="device-0/../../x"),
    "a server as sender": envelope(sender=SERVER),
    "a kind that nobody knows": envelope(kind="exploit"),
    "too few bytes": envelope(tensors=[tensor(shape=[1 << 10], data=bytes(8))]),
    "four times as large when decoded": envelope(
        tensors=[tensor(encoding=message_pb2.ENCODING_INT2, shape=[3 << 20], data=bytes(3 << 18), scales=b"", block=0)]
    ),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_message_that_is_none_is_refused_in_a_sentence(joined: Served, data: bytes) -> None:
    code, details = refused(joined, data)
    assert code is INVALID
    assert details
    assert len(details) < 400
    assert "\n" not in details


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused_and_not_kept(joined: Served, micro: Micro, value: float) -> None:
    ids = tuple(sorted(sample.id for sample in make_scene(micro.backbone("opt")).samples[DEVICE]))
    with joined.wire("mallory") as wire:
        wire.request(Message("samples", DEVICE, SERVER, sample_ids=ids))
        bad = torch.zeros(1, 3, 32)
        bad[0, 1, 5] = value
        data = encode(
            Message("activations", DEVICE, SERVER, sample_ids=ids[:1], tensors={"activations": torch.zeros(1, 3, 32)})
        )
        data = data.replace(bytes(4 * 37), bytes(4 * 36) + torch.tensor([value]).numpy().tobytes(), 1)
        code, _ = refused(joined, data)
        assert code is INVALID
        assert wire.request(Message("train", DEVICE, SERVER)).sample_ids == ids


@pytest.mark.parametrize("size", [0, LARGEST + 1, 1 << 63])
def test_a_request_of_no_size_or_too_large_a_one_is_refused_at_once(served: Served, size: int) -> None:
    code, details = call(served, iter([schema.Chunk(size=size, data=b"x")]))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"{LARGEST}" in details


def test_more_or_fewer_bytes_than_announced_are_refused(served: Served) -> None:
    assert call(served, iter([schema.Chunk(size=10, data=b"x" * 11)]))[0] is INVALID
    assert call(served, iter([schema.Chunk(size=10, data=b"x" * 9)]))[0] is INVALID
    assert call(served, iter([schema.Chunk(size=10, data=b"x")] + [schema.Chunk(data=b"xx")] * 5))[0] is INVALID


def test_a_piece_beyond_the_bound_never_reaches_the_service(served: Served) -> None:
    code, _ = call(served, iter([schema.Chunk(size=LARGEST, data=bytes(PIECE + 2048))]))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_who_sends_nothing_more_is_hung_up_on(served: Served) -> None:
    over = threading.Event()

    def slow() -> Iterator[schema.Chunk]:
        yield schema.Chunk(size=100, data=b"x")
        over.wait(8)

    try:
        code, _ = call(served, slow())
    finally:
        over.set()
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_requests_that_fill_the_room_let_the_others_wait_and_no_more(served: Served) -> None:
    """Six of which each holds half of the room and dawdles: the room is free again when they are hung up on."""
    over = threading.Event()

    def slow() -> Iterator[schema.Chunk]:
        yield schema.Chunk(size=LARGEST, data=b"x")
        over.wait(8)

    codes: list[grpc.StatusCode] = []
    threads = [threading.Thread(target=lambda: codes.append(call(served, slow())[0])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    assert codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * 6


def test_without_joining_nothing_is_taken(served: Served) -> None:
    code, details = refused(served, encode(Message("download", DEVICE, SERVER)))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "no run of this device" in details


SIDE = {"layers": 3, "width": 32, "bottleneck": 4, "outputs": 6, "epochs": 2, "batch": 12, "selector": "mean"}
TERMS = {
    "a seed that is none": {"seed": "../../x"},
    "no side": {"side": None},
    "no layers": {"side": {"layers": 0}},
    "a network of gigabytes": {"side": {"width": 1 << 31}},
    "epochs without end": {"side": {"epochs": 4294967295}},
    "no batch": {"side": {"batch": 0}},
    "a rate that is no number": {"side": {"learning_rate": float("nan")}},
    "an unknown selector": {"side": {"selector": "all"}},
    "an unknown protocol": {"protocol": "../pae"},
    "a protocol of one process": {"protocol": "fedlora"},
}


def terms(**changed: Any) -> schema.Terms:
    side = changed.pop("side", {})
    made = schema.Terms(**{"protocol": "pae", "seed": "abc", **changed})
    if side is not None:
        made.side.CopyFrom(schema.SideTerms(**{**SIDE, "learning_rate": 0.01, "weight_decay": 0.1, **side}))
    return made


@pytest.mark.parametrize("changed", TERMS.values(), ids=TERMS.keys())
def test_terms_that_nobody_can_meet_are_refused(served: Served, changed: dict[str, Any]) -> None:
    with grpc.insecure_channel(f"localhost:{served.port}") as channel:
        join = channel.unary_unary(f"/{NAME}/Join", schema.Terms.SerializeToString, schema.Joined.FromString)
        with pytest.raises(grpc.RpcError) as wrong:
            join(terms(**changed), metadata=((NAMED, "terms"),), timeout=10)
    error: Any = wrong.value
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert len(error.details()) < 400


def test_sound_terms_are_read_as_they_were_written() -> None:
    found = read(terms())
    assert found.side is not None
    assert (found.side.shape.layers, found.side.training.epochs, found.side.private) == (3, 2, None)
    with pytest.raises(UsageError):
        read(terms(side={"outputs": 1 << 30}))


def test_health_and_reflection_tell_what_is_served(served: Served) -> None:
    with grpc.insecure_channel(f"localhost:{served.port}") as channel:
        found = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=NAME), timeout=10)
        assert found.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asks = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (listed,) = stub.ServerReflectionInfo(asks, timeout=10)
        assert NAME in {service.name for service in listed.list_services_response.service}
        asks = iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAME)])
        (described,) = stub.ServerReflectionInfo(asks, timeout=10)
        assert described.file_descriptor_response.file_descriptor_proto
