"""A foreign gRPC service, recorded at its server or at its client: it answers as ever, and its messages are filed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BytesValue

from sidelight.audits.foreign import Answer, Crossing, Recording
from sidelight.system.errors import UsageError
from sidelight.system.public import Public
from sidelight.system.view import load_view

PUBLIC = Public({"difference": "probability"}, ("no", "yes"))


def packed(rows: Mapping[str, list[float]]) -> BytesValue:
    """Ids and rows as that service has them: JSON in a message of bytes."""
    return BytesValue(value=json.dumps(rows).encode())


def unpacked(message: BytesValue) -> dict[str, list[float]]:
    rows: dict[str, list[float]] = json.loads(message.value)
    return rows


def doubled(message: BytesValue) -> BytesValue:
    return packed({name: [2 * x for x in row] for name, row in unpacked(message).items()})


def learn(request: BytesValue, context: Any) -> BytesValue:
    if "bad" in unpacked(request):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "that is no row of ours")
    return doubled(request)


def learn_all(requests: Iterator[BytesValue], context: Any) -> BytesValue:
    return packed({name: row for request in requests for name, row in unpacked(doubled(request)).items()})


def tell(request: BytesValue, context: Any) -> Iterator[BytesValue]:
    for name, row in unpacked(request).items():
        if name == "worse":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "that is no row of ours")
        yield doubled(packed({name: row}))


def talk(requests: Iterator[BytesValue], context: Any) -> Iterator[BytesValue]:
    for request in requests:
        yield doubled(request)


def raw(request: bytes, context: Any) -> bytes:
    return request[::-1]


FORM = (BytesValue.FromString, BytesValue.SerializeToString)
SERVICE = grpc.method_handlers_generic_handler(
    "their.Service",
    {
        "Learn": grpc.unary_unary_rpc_method_handler(learn, *FORM),
        "LearnAll": grpc.stream_unary_rpc_method_handler(learn_all, *FORM),
        "Tell": grpc.unary_stream_rpc_method_handler(tell, *FORM),
        "Talk": grpc.stream_stream_rpc_method_handler(talk, *FORM),
        "Raw": grpc.unary_unary_rpc_method_handler(raw),
    },
)
ROWS = Crossing(
    "difference",
    "phone",
    "server",
    lambda request: {"difference": list(unpacked(request).values())},
    lambda request: list(unpacked(request)),
    Answer(
        "gradient",
        lambda answer: {"gradient": list(unpacked(answer).values())},
        lambda answer: list(unpacked(answer)),
    ),
)
RAW = Crossing(
    "labels",
    "phone",
    "server",
    lambda request: {"labels": numpy.frombuffer(request, numpy.uint8)},
    lambda request: range(len(request)),
)
METHODS: Mapping[str, Any] = {
    **{f"/their.Service/{name}": ROWS for name in ("Learn", "LearnAll", "Tell", "Talk")},
    "/their.Service/Raw": RAW,
}


@contextmanager
def served(*interceptors: Any) -> Iterator[str]:
    """The service's address."""
    server = grpc.server(ThreadPoolExecutor(8), handlers=[SERVICE], interceptors=list(interceptors))
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()


class Phone:
    """That service's client."""

    def __init__(self, channel: grpc.Channel) -> None:
        form = (BytesValue.SerializeToString, BytesValue.FromString)
        self.learn = channel.unary_unary("/their.Service/Learn", *form)
        self.learn_all = channel.stream_unary("/their.Service/LearnAll", *form)
        self.tell = channel.unary_stream("/their.Service/Tell", *form)
        self.talk = channel.stream_stream("/their.Service/Talk", *form)
        self.raw: Any = channel.unary_unary("/their.Service/Raw")


@contextmanager
def recorded_at(end: str, recorder: Recording, methods: Mapping[str, Any] = METHODS) -> Iterator[Phone]:
    """A client of the service, one end of which is recorded."""
    interceptor = recorder.interceptor(methods)
    with served(*([interceptor] if end == "server" else [])) as address, grpc.insecure_channel(address) as channel:
        yield Phone(grpc.intercept_channel(channel, interceptor) if end == "client" else channel)


@pytest.fixture(params=["server", "client"])
def end(request: pytest.FixtureRequest) -> str:
    side: str = request.param
    return side


def rows(*names: str) -> dict[str, list[float]]:
    return {name: [float(len(name)), -1.0, 0.5] for name in names}


def traffic(out: Path) -> list[dict[str, Any]]:
    about: list[dict[str, Any]] = json.loads((out / "run.json").read_text(encoding="utf-8"))["traffic"]
    return about


def filed(out: Path, kind: str) -> dict[str, Any]:
    view = load_view(out / "view")
    messages = [message for message in view.messages if message.kind == kind]
    return {i: row.tolist() for m in messages for i, row in zip(m.sample_ids, m.tensors[kind], strict=True)}


def asks(phone: Phone) -> dict[str, Any]:
    """Each kind of method with what it is asked; it returns the answers."""
    one, two = packed(rows("a", "bb")), packed(rows("ccc"))
    return {
        "Learn": ([one, two], lambda: [phone.learn(one), phone.learn.future(two).result()]),
        "LearnAll": ([one, two], lambda: [phone.learn_all(iter([one, two]))]),
        "Tell": ([one, two], lambda: [*phone.tell(one), *phone.tell(two)]),
        "Talk": ([one, two], lambda: [*phone.talk(iter([one, two]))]),
    }


@pytest.mark.parametrize("method", ["Learn", "LearnAll", "Tell", "Talk"])
def test_requests_and_answers_are_filed_and_measured_and_nothing_else_changes(
    end: str, method: str, tmp_path: Path
) -> None:
    with served() as address, grpc.insecure_channel(address) as channel:
        expected = asks(Phone(channel))[method][1]()
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder) as phone:
        requests, ask = asks(phone)[method]
        answers = ask()
    assert answers == expected
    assert filed(tmp_path / "run", "difference") == rows("a", "bb", "ccc")
    assert filed(tmp_path / "run", "gradient") == {
        name: [2 * x for x in row] for name, row in rows("a", "bb", "ccc").items()
    }
    assert traffic(tmp_path / "run") == [
        {
            "kind": kind,
            "sender": sender,
            "receiver": receiver,
            "messages": len(messages),
            "bytes": sum(len(message.SerializeToString()) for message in messages),
            "measured": "grpc",
        }
        for kind, sender, receiver, messages in (
            ("difference", "phone", "server", requests),
            ("gradient", "server", "phone", answers),
        )
    ]


def test_methods_of_raw_bytes_are_filed(end: str, tmp_path: Path) -> None:
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder) as phone:
        assert phone.raw(b"\x01\x00\x01") == b"\x01\x00\x01"
    assert load_view(tmp_path / "run" / "view").rows("labels", "labels")[1].tolist() == [1, 0, 1]
    assert [(one["bytes"], one["measured"]) for one in traffic(tmp_path / "run")] == [(3, "grpc")]


def test_methods_that_are_not_named_pass_untouched(end: str, tmp_path: Path) -> None:
    methods = {"/their.Service/Raw": RAW}
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder, methods) as phone:
        for _, ask in asks(phone).values():
            ask()
        phone.raw(b"\x01")
    assert load_view(tmp_path / "run" / "view").kinds == frozenset({"labels"})


def test_a_refusal_passes_with_its_status_and_a_server_has_seen_what_it_refused(end: str, tmp_path: Path) -> None:
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder) as phone:
        phone.learn(packed(rows("a")))
        with pytest.raises(grpc.RpcError) as caught:
            phone.learn(packed(rows("bad")))
        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.INVALID_ARGUMENT, "that is no row of ours"
        )  # fmt: skip
        found: list[BytesValue] = []
        with pytest.raises(grpc.RpcError) as caught:
            found.extend(phone.tell(packed(rows("bb", "worse"))))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(found) == 1
    seen = {"a", "bb", "worse"}  # an answer shows the client that the second request came
    seen |= {"bad"} if end == "server" else set()
    assert filed(tmp_path / "run", "difference").keys() == seen
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["failed_calls"] == 2


def test_several_kinds_of_one_request_share_its_bytes(end: str, tmp_path: Path) -> None:
    labels = Crossing(
        "labels",
        "phone",
        "server",
        lambda request: {"labels": [int(row[0] > 1) for row in unpacked(request).values()]},
        lambda request: list(unpacked(request)),
    )
    methods = {"/their.Service/Learn": (ROWS, labels)}
    request = packed(rows("a", "bb"))
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder, methods) as phone:
        phone.learn(request)
    assert filed(tmp_path / "run", "labels") == {"a": 0, "bb": 1}
    assert [(one["kind"], one["messages"], one["bytes"]) for one in traffic(tmp_path / "run")] == [
        ("difference + labels", 1, request.ByteSize()),
        ("gradient", 1, doubled(request).ByteSize()),
    ]


def test_a_request_that_is_passed_over_is_counted_and_not_filed(tmp_path: Path) -> None:
    pieces: list[float] = []

    def gathered(request: BytesValue) -> dict[str, Any] | None:
        ((name, piece),) = unpacked(request).items()
        pieces.extend(piece)
        return {"difference": [pieces]} if name == "last" else None

    crossing = Crossing("difference", "phone", "server", gathered, lambda request: ["a"])
    requests = [packed({"more": [1.0]}), packed({"more": [2.0]}), packed({"last": [3.0]})]
    methods = {"/their.Service/LearnAll": crossing}
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at("server", recorder, methods) as phone:
        phone.learn_all(iter(requests))
    assert filed(tmp_path / "run", "difference") == {"a": [1.0, 2.0, 3.0]}
    (counted,) = traffic(tmp_path / "run")
    assert (counted["messages"], counted["bytes"]) == (3, sum(request.ByteSize() for request in requests))


def test_an_answer_to_a_stream_must_say_whose_it_is(end: str, tmp_path: Path) -> None:
    crossing = Crossing(
        "difference",
        "phone",
        "server",
        ROWS.tensors,
        ROWS.ids,
        Answer("gradient", lambda answer: {"gradient": [[1.0]]}),
    )

    def block() -> None:
        methods = {"/their.Service/Talk": crossing}
        with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder, methods) as phone:
            assert list(phone.talk(iter([packed(rows("a"))]))) == [doubled(packed(rows("a")))]

    with pytest.raises(UsageError, match=r"an answer of /their.Service/Talk .* say by Answer\(ids=...\) whose answer"):
        block()
    assert list(tmp_path.iterdir()) == []


def test_a_mapping_that_fails_does_not_reach_the_service(end: str, tmp_path: Path) -> None:
    crossing = Crossing("difference", "phone", "server", {"difference": "rows"}, "rows")

    def block() -> None:
        methods = {"/their.Service/Learn": crossing}
        with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder, methods) as phone:
            assert phone.learn(packed(rows("a"))) == doubled(packed(rows("a")))

    with pytest.raises(UsageError, match="BytesValue has no field 'rows'; give a function that reads it"):
        block()


def test_a_stream_that_its_client_leaves_is_no_open_call(end: str, tmp_path: Path) -> None:
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder) as phone:
        answers = phone.tell(packed(rows("a", "bb", "ccc")))
        assert next(answers) == doubled(packed(rows("a")))
        answers.cancel()
        assert answers.code() is grpc.StatusCode.CANCELLED  # what gRPC's own call tells
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["unfinished_calls"] == 0
    assert "a" in filed(tmp_path / "run", "gradient")


def test_many_phones_at_once_are_filed_one_by_one(end: str, tmp_path: Path) -> None:
    with Recording(tmp_path / "run", public=PUBLIC) as recorder, recorded_at(end, recorder) as phone:
        names = [f"phone {at}" for at in range(60)]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda name: phone.learn(packed(rows(name))), names))
    assert answers == [doubled(packed(rows(name))) for name in names]
    assert filed(tmp_path / "run", "difference") == rows(*names)
    assert sorted(m.step for m in load_view(tmp_path / "run" / "view").received) == list(range(60))


@pytest.mark.parametrize("name", ["Learn", "their.Service/Learn", "/their.Service.Learn", "//x/y"])
def test_names_of_no_method_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no method's full name; gRPC calls them /package"):
        Recording(tmp_path / "run", public=PUBLIC).interceptor({name: ROWS})


def test_fields_of_a_message_are_named(tmp_path: Path) -> None:
    crossing = Crossing("labels", "phone", "server", lambda mask: {"labels": list(map(len, mask.paths))}, "paths")
    method = grpc.unary_unary_rpc_method_handler(
        lambda request, context: Struct(), FieldMask.FromString, Struct.SerializeToString
    )
    service = grpc.method_handlers_generic_handler("their.Service", {"Name": method})
    with Recording(tmp_path / "run", public=PUBLIC) as recorder:
        interceptor = recorder.interceptor({"/their.Service/Name": crossing})
        server = grpc.server(ThreadPoolExecutor(2), handlers=[service], interceptors=[interceptor])
        port = server.add_insecure_port("localhost:0")
        server.start()
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            send = channel.unary_unary("/their.Service/Name", FieldMask.SerializeToString, Struct.FromString)
            send(FieldMask(paths=["a", "bb"]))
        server.stop(None).wait()
    ids, labels = load_view(tmp_path / "run" / "view").rows("labels", "labels")
    assert (ids, labels.tolist()) == (("a", "bb"), [1, 2])
