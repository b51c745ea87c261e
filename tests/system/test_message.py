"""Messages as bytes: what the schema says, back and forth, and whatever a hostile peer may send."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from sidelight.system import message_pb2 as schema
from sidelight.system.codec import PRECISIONS, through
from sidelight.system.errors import ProtocolError
from sidelight.system.message import MOST_VALUES, Message, decode, encode

FLOAT = {"name": "x", "encoding": schema.ENCODING_FLOAT32, "shape": [2], "data": b"\0" * 8}
HUGE = 2**32 - 1


def field(number: int, wire_type: int, payload: bytes) -> bytes:
    """A protobuf field below 128 bytes, by the encoding's rules."""
    length = bytes([len(payload)]) if wire_type == 2 else b""
    return bytes([number << 3 | wire_type]) + length + payload


def test_the_bytes_are_those_of_the_schema_by_hand() -> None:
    tensor = (
        field(1, 2, b"x") + field(2, 0, b"\1") + field(3, 2, bytes([1, 2])) + field(4, 2, struct.pack("<2f", 1, -2))
    )
    expected = (
        field(1, 2, b"difference")
        + field(2, 2, b"device-0")
        + field(3, 2, b"server")
        + field(4, 0, b"\3")
        + field(5, 0, b"\2")
        + field(6, 2, bytes(range(8)))
        + field(7, 2, tensor)
    )
    message = Message(
        "difference", "device-0", "server", 3, 2, ("0001020304050607",), {"x": torch.tensor([[1.0, -2.0]])}
    )
    assert encode(message) == expected


def random_message(generator: np.random.Generator) -> Message:
    """Up to four tensors of up to three dimensions, some of whole numbers, some empty."""
    tensors = {}
    for at in range(generator.integers(0, 5)):
        shape = [int(size) for size in generator.integers(0, 9, size=generator.integers(0, 4))]
        whole = generator.random() < 0.3
        values = generator.integers(-(2**62), 2**62, shape) if whole else generator.normal(size=shape)
        tensors[f"tensor.{at}"] = torch.tensor(values, dtype=torch.int64 if whole else torch.float32)
    ids = tuple(generator.bytes(8).hex() for _ in range(generator.integers(0, 5)))
    precision = PRECISIONS[generator.integers(len(PRECISIONS))]
    numbers = [int(n) for n in generator.integers(0, 2**32, 2)]
    return Message(
        f"kind-{generator.integers(9)}", "device-0", "server", numbers[0], numbers[1], ids, tensors, precision
    )


@pytest.mark.parametrize("seed", range(60))
def test_any_message_comes_back_as_the_codec_reads_it(seed: int) -> None:
    sent = random_message(np.random.default_rng(seed))
    got = decode(encode(sent))
    plain = replace(sent, tensors={}, precision=got.precision)
    assert replace(got, tensors={}) == plain
    floats = [t for t in sent.tensors.values() if t.is_floating_point()]
    assert got.precision == (sent.precision if floats else "fp32")
    assert list(got.tensors) == list(sent.tensors)
    for name, tensor in sent.tensors.items():
        expected = through(tensor, sent.precision) if tensor.is_floating_point() else tensor
        assert got.tensors[name].dtype == expected.dtype
        assert torch.equal(got.tensors[name], expected)


def test_the_same_message_has_the_same_bytes() -> None:
    message = random_message(np.random.default_rng(4))
    assert encode(message) == encode(replace(message, tensors=dict(message.tensors)))


def test_small_whole_numbers_and_truth_values_cross_as_64_bits() -> None:
    got = decode(
        encode(Message("k", "a", "b", tensors={"x": torch.tensor([True, False]), "y": torch.tensor(3).char()}))
    )
    assert got.tensors["x"].tolist() == [1, 0]
    assert got.tensors["y"].item() == 3
    assert {t.dtype for t in got.tensors.values()} == {torch.int64}


@pytest.mark.parametrize(
    ("values", "each"),
    [([0, 65535], 2), ([0, 65536], 4), ([-1, 5], 4), ([-(2**31), 2**31 - 1], 4), ([], 2)],
)
def test_32_bit_whole_numbers_take_two_bytes_where_all_fit_and_else_four(values: list[int], each: int) -> None:
    data = encode(Message("k", "a", "b", tensors={"x": torch.tensor(values, dtype=torch.int32)}))
    assert len(schema.Envelope.FromString(data).tensors[0].data) == each * len(values)
    got = decode(data).tensors["x"]
    assert (got.dtype, got.tolist()) == (torch.int32, values)
    assert encode(decode(data)) == data


def test_a_decoded_tensor_can_be_written_to() -> None:
    got = decode(encode(Message("k", "a", "b", tensors={"x": torch.zeros(2), "y": torch.zeros(2).long()})))
    for tensor in got.tensors.values():
        assert tensor.add_(1).tolist() == [1, 1]


# --- hostile bytes --------------------------------------------------------------------------------------------


def envelope(*tensors: dict[str, object], ids: bytes = b"") -> bytes:
    made = [schema.Tensor(**{**FLOAT, **tensor}) for tensor in tensors]  # type: ignore[arg-type]
    return schema.Envelope(kind="k", sender="a", receiver="b", sample_ids=ids, tensors=made).SerializeToString()


HOSTILE = {
    "no envelope": b"\xff\xff\xff\xff",
    "kind that is not UTF-8": field(1, 2, b"\xff\xfe"),
    "too few bytes": envelope({"data": b"\0" * 7}),
    "too many bytes": envelope({"data": b"\0" * 9}),
    "whole numbers, too few bytes": envelope({"encoding": schema.ENCODING_INT64, "data": b"\0" * 8}),
    "huge shape": envelope({"shape": [HUGE, HUGE, HUGE]}),
    "just too large": envelope({"shape": [MOST_VALUES + 1]}),
    "huge shape without a value": envelope({"shape": [0, HUGE, HUGE, HUGE], "data": b""}),
    "huge quantised shape without a value": envelope(
        {"shape": [HUGE, HUGE, HUGE, 0], "data": b"", "encoding": schema.ENCODING_INT8, "block": 64}
    ),
    "two tensors of one name": envelope({}, {}),
    "two precisions": envelope({}, {"name": "y", "encoding": schema.ENCODING_FLOAT16, "data": b"\0" * 4}),
    "no encoding": envelope({"encoding": schema.ENCODING_UNSPECIFIED}),
    "unknown encoding": envelope({"encoding": 77}),
    "half a sample id": envelope(ids=b"\0" * 12),
    "quantised without scales": envelope({"encoding": schema.ENCODING_INT8, "data": b"\0\0", "block": 64}),
    "quantised without a block": envelope({"encoding": schema.ENCODING_INT8, "data": b"\0\0", "scales": b"\0\0"}),
    "half a scale": envelope({"encoding": schema.ENCODING_INT4, "data": b"\0", "scales": b"\0", "block": 64}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_bytes_that_no_sender_makes_are_refused(what: str) -> None:
    with pytest.raises(ProtocolError):
        decode(HOSTILE[what])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_truncated_or_damaged_bytes_raise_nothing_but_a_protocol_error(precision: str) -> None:
    tensors = {"x": torch.randn(2, 70, generator=torch.Generator().manual_seed(1)), "y": torch.tensor([1, 2])}
    data = encode(Message("kind", "device-0", "server", 1, 2, ("0" * 16,), tensors, precision))  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    damaged = [data[:size] for size in range(0, len(data), 3)]
    for _ in range(600):
        bytes_ = bytearray(data)
        for at in generator.integers(0, min(len(data), 90), size=generator.integers(1, 4)):
            bytes_[at] = generator.integers(256)
        damaged.append(bytes(bytes_))
    refused = 0
    for each in damaged:
        try:
            decode(each)
        except ProtocolError:
            refused += 1
    assert refused > len(damaged) // 4


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (None, "holds no tensor 'x'"),
        (torch.zeros(2, 3, 1), "has the shape"),
        (torch.zeros(2, 4), "has the shape"),
        (torch.full((2, 3), float("inf")), "no numbers"),
        (torch.full((2, 3), float("nan")), "no numbers"),
    ],
)
def test_a_tensor_that_is_not_as_asked_for_is_refused(tensor: torch.Tensor | None, what: str) -> None:
    message = Message("update", "device-0", "server", tensors={} if tensor is None else {"x": tensor})
    with pytest.raises(ProtocolError, match=what):
        message.tensor("x", None, 3)


def test_a_tensor_as_asked_for_is_given() -> None:
    value = torch.arange(6.0).view(2, 3)
    assert Message("update", "device-0", "server", tensors={"x": value}).tensor("x", None, 3) is value
