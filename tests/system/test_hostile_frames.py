"""Frames that claim more than they hold, or what no sender sends: each is refused in one short sentence, in bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from sidelight.system import message_pb2 as schema
from sidelight.system.envelope import MOST_DIMENSIONS, MOST_IDS, MOST_TENSORS, QUOTED
from sidelight.system.errors import ProtocolError
from sidelight.system.message import MOST_VALUES, decode, decoding_bytes, longest

HUGE = 2**32 - 1
FLOAT: dict[str, Any] = {"name": "x", "encoding": schema.ENCODING_FLOAT32, "shape": [2], "data": b"\0" * 8}
WHOLE: dict[str, Any] = {"name": "x", "encoding": schema.ENCODING_INT64, "shape": [2], "data": b"\0" * 16}
INT8: dict[str, Any] = {
    "name": "x", "encoding": schema.ENCODING_INT8, "shape": [2], "data": b"\0\0", "scales": b"\0\x3c", "block": 64,
}  # fmt: skip
INT4 = {**INT8, "encoding": schema.ENCODING_INT4, "data": b"\0"}
INT2 = {**INT4, "encoding": schema.ENCODING_INT2}
SECRET = "hunter2-" * 100


def envelope(*tensors: dict[str, Any], **fields: Any) -> bytes:
    named = {"kind": "k", "sender": "a", "receiver": "b"}
    return schema.Envelope(**{**named, **fields}, tensors=[schema.Tensor(**t) for t in tensors]).SerializeToString()


def empty(count: int) -> list[dict[str, Any]]:
    return [{**FLOAT, "name": f"t{at}", "shape": [0], "data": b""} for at in range(count)]


REFUSED = {
    "terabytes": (envelope({**FLOAT, "shape": [HUGE, HUGE]}), "hold at most"),
    "terabytes of nothing": (envelope({**FLOAT, "shape": [0, HUGE, HUGE], "data": b""}), "hold at most"),
    "many just small enough": (envelope(*({**t, "shape": [0, 2**19]} for t in empty(513))), "hold at most"),
    "nine dimensions": (envelope({**FLOAT, "shape": [1] * 8 + [2]}), "at most 8 dimensions"),
    "a million dimensions": (envelope({**FLOAT, "shape": [1] * 10**6}), "at most 8 dimensions"),
    "too many tensors": (envelope(*empty(MOST_TENSORS + 1)), "at most 1024 tensors"),
    "a million tensors": (b"\x0a\x01k" + b"\x3a\x00" * 10**6, "more than 1056 fields"),
    "too many ids": (envelope(sample_ids=bytes(8 * MOST_IDS + 8)), "at most 1048576 sample ids"),
    "half an id": (envelope(sample_ids=bytes(12)), "8 bytes each"),
    "parts of ids that are whole only together": (
        envelope(sample_ids=bytes(4)) + envelope(sample_ids=bytes(12)),
        "8 bytes each",
    ),
    "no kind": (envelope(kind=""), "^a kind is"),
    "no sender": (envelope(sender=""), "^a party is"),
    "a long kind": (envelope(kind="k" * 65), "^a kind is"),
    "a long tensor's name": (envelope({**FLOAT, "name": "n" * 129}), "^a tensor's name is"),
    "a path": (envelope(sender="../../etc"), "^a party is"),
    "a folder": (envelope({**FLOAT, "name": "a/b"}), "^a tensor's name is"),
    "a hidden file": (envelope(receiver=".profile"), "^a party is"),
    "a line's end": (envelope(kind="ready\n"), "^a kind is"),
    "another alphabet": (envelope(sender="dеvice-0"), "^a party is"),  # noqa: RUF001
    "digits of another alphabet": (envelope(sender="device-٣"), "^a party is"),
    "an unknown encoding": (envelope({**FLOAT, "encoding": 99}), "unknown encoding 99"),
    "block 0": (envelope({**INT8, "block": 0}), "a block of 1 to"),
    "a huge block": (envelope({**INT8, "block": HUGE}), "a block of 1 to"),
    "an infinite scale": (envelope({**INT8, "scales": b"\0\x7c"}), "finite numbers from zero up"),
    "a scale that is no number": (envelope({**INT8, "scales": b"\1\x7e"}), "finite numbers from zero up"),
    "a negative scale": (envelope({**INT8, "scales": b"\0\xbc"}), "finite numbers from zero up"),
    "-128": (envelope({**INT8, "data": b"\x80\0"}), "-127..127"),
    "-8": (envelope({**INT4, "data": b"\x08"}), "-7..7"),
    "-2": (envelope({**INT2, "data": b"\x02"}), "-1..1"),
    "a filled tail": (envelope({**INT2, "data": b"\x10"}), "zeros fill the last byte"),
    "scales of floats": (envelope({**FLOAT, "scales": b"\0\0"}), "no scales"),
    "scales of whole numbers": (envelope({**WHOLE, "scales": b"\0\0"}), "no scales"),
    "a length beyond the end": (envelope() + b"\x3a\xff\xff\xff\xff\x0f", "cut off"),
    "a length without an end": (envelope() + b"\x3a" + b"\xff" * 11, "a number has no end"),
    "a group": (envelope() + b"\x43\x44", "no known type"),
    "text that is none": (b"\x0a\x02\xff\xfe", "no Sidelight envelope"),
    "nothing": (b"", "^a kind is"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_sender_sends_is_refused_with_the_reason(what: str) -> None:
    frame, reason = REFUSED[what]
    with pytest.raises(ProtocolError, match=reason) as caught:
        decode(frame)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
    assert str(caught.value).isascii()


@pytest.mark.parametrize("tensor", [FLOAT, WHOLE, INT8, INT4, INT2])
def test_the_same_tensors_unchanged_are_read(tensor: dict[str, Any]) -> None:
    assert decode(envelope(tensor)).tensors["x"].shape == (2,)


def test_what_is_just_allowed_is_read() -> None:
    frame = envelope(*empty(MOST_TENSORS - 1), {**FLOAT, "name": "n" * 128, "shape": [1] * (MOST_DIMENSIONS - 1) + [2]})
    assert len(decode(frame).tensors) == MOST_TENSORS
    assert len(decode(envelope(kind="k" * 64, sample_ids=bytes(8 * MOST_IDS))).sample_ids) == MOST_IDS


@pytest.mark.parametrize("field", ["kind", "sender", "receiver", "name"])
def test_a_refusal_quotes_little_of_a_name_and_escapes_it(field: str) -> None:
    for name in (SECRET, "\x1b[2J" * 50, "\U0001f600" * 50):
        frame = envelope({**FLOAT, "name": name}) if field == "name" else envelope(**{field: name})
        with pytest.raises(ProtocolError) as caught:
            decode(frame)
        _, _, said = str(caught.value).partition("; not ")
        assert len(said) <= QUOTED + len("''...")
        assert said.isprintable()
        assert said.isascii()


def test_a_server_lowers_the_bound_on_all_tensors_together() -> None:
    two = envelope(FLOAT, {**FLOAT, "name": "y"})
    assert len(decode(two, 4).tensors) == 2
    with pytest.raises(ProtocolError, match="hold at most 3 values"):
        decode(two, 3)


def test_a_frame_longer_than_any_message_is_refused_unread() -> None:
    frame = envelope() + b"\x7a" + b"\xff\xff\xff\x07" + bytes((1 << 24) - 1)  # an unknown field of 16 MiB
    assert decode(frame).kind == "k"
    with pytest.raises(ProtocolError, match=f"at most {longest(1)} bytes, not {len(frame)}"):
        decode(frame, 1)


# --- memory ---------------------------------------------------------------------------------------------------

VALUES = 1 << 22
RUNS = {"shape": [VALUES], "block": 1, "scales": bytes(2 * VALUES)}
LARGE = {
    "int2": envelope({**INT2, **RUNS, "data": bytes(VALUES // 4)}),
    "int8": envelope({**INT8, **RUNS, "data": bytes(VALUES)}),
    "bf16": envelope({**FLOAT, "encoding": schema.ENCODING_BFLOAT16, "shape": [VALUES], "data": bytes(2 * VALUES)}),
    "int64": envelope({**WHOLE, "shape": [VALUES], "data": bytes(8 * VALUES)}),
    "ids": envelope(sample_ids=bytes(range(256)) * (1 << 15)),
}
BOMBS = {
    "tensors": envelope() + b"\x3a\0" * VALUES,
    "fields": envelope() + b"\x78\0" * VALUES,
    "sizes": envelope({**FLOAT, "shape": [1] * VALUES}),
    "terabytes": envelope({**FLOAT, "shape": [HUGE, HUGE]}),
}
MEASURED = """
import json, os, sys
from pathlib import Path
import torch
from sidelight.audits.proofs.memory import peak_memory
from sidelight.system.errors import ProtocolError
from sidelight.system.message import Message, decode, encode

torch.set_num_threads(1)
for precision in ("fp32", "bf16", "int2"):  # what is loaded when it is first used
    decode(encode(Message("k", "a", "b", tensors={"x": torch.ones(3), "y": torch.arange(3)}, precision=precision)))
for path in sorted(Path(sys.argv[1]).iterdir()):
    if os.fork():  # a child's peak begins at what it has
        os.wait()
        continue
    data = path.read_bytes()
    before = peak_memory()
    try:
        read = bool(decode(data, int(sys.argv[2])))
    except ProtocolError:
        read = False
    print(json.dumps([path.name, [read, peak_memory() - before]]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """Of each frame, whether it was read, and the bytes by which resident memory rose at most."""
    folder = tmp_path_factory.mktemp("frames")
    for name, frame in {**LARGE, **BOMBS}.items():
        (folder / name).write_bytes(frame)
    line = [sys.executable, "-c", MEASURED, str(folder), str(VALUES)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("what", LARGE)
def test_decoding_takes_no_more_memory_than_is_stated(what: str, measured: dict[str, list[int]]) -> None:
    """Nor much less, or nothing would have been measured: at least the values or ids themselves."""
    read, risen = measured[what]
    assert read
    assert 4 * VALUES <= risen <= decoding_bytes(len(LARGE[what]), VALUES)


@pytest.mark.parametrize("what", BOMBS)
def test_what_is_refused_takes_next_to_none(what: str, measured: dict[str, list[int]]) -> None:
    """Parsed before it is counted, a frame of 8 MB of empty tensors would take 370 MB."""
    read, risen = measured[what]
    assert not read
    assert risen < 2 << 20


def test_the_bound_is_a_multiple_of_the_values_allowed() -> None:
    assert decoding_bytes(longest(), MOST_VALUES) < 41 * MOST_VALUES + (1 << 28)
