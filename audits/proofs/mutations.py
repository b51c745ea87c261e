"""Frames as a hostile peer may send them: real ones, changed at random.

Half of the changes know nothing of the schema: bits, bytes, cuts and joins. The others put into one field what a
sender never would, or what it seldom does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy

from ...system import message_pb2 as schema
from ...system.envelope import MOST_DIMENSIONS, MOST_TENSORS

Generator = numpy.random.Generator
Change = Callable[[bytes, bytes, Generator], bytes]
"""A frame, another one, and what draws."""

HEAD = 96
"""Bytes at the front that are met more often than the rest: names, ids and shapes stand there."""
NUMBERS = (0, 1, 2, 7, 8, 63, 64, 65, 127, 128, 255, 256, 65535, 65536, 65537, 2**31 - 1, 2**31, 2**32 - 1)
"""Sizes at the ends of ranges."""
HALVES = (b"\x00\x00", b"\x01\x00", b"\xff\x7b", b"\x00\x7c", b"\x00\x80", b"\x00\xfc", b"\x00\x7e", b"\xff\xff")
"""Scales: zero, the smallest, the largest, infinite, negative zero, negative infinity, two NaN."""
NAMES = (
    "",
    "x",
    "..",
    "../../etc/passwd",
    "a/b",
    "a\0b",
    "é" * 30,
    "\u202e",
    "k" * 64,
    "k" * 65,
    "a" * 129,
    "-",
    "device-1",
)
AT_ONCE = 3
"""Most changes to one frame."""


def mutated(frames: Sequence[bytes], generator: Generator) -> Iterator[bytes]:
    """Frames without end, each with one to AT_ONCE changes."""
    while True:
        frame, other = (frames[int(generator.integers(len(frames)))] for _ in range(2))
        for _ in range(int(generator.integers(1, AT_ONCE + 1))):
            frame = CHANGES[int(generator.integers(len(CHANGES)))](frame, other, generator)
        yield frame


# --- of bytes -------------------------------------------------------------------------------------------------


def _place(frame: bytes, generator: Generator) -> int:
    """A byte's place, as often in the head as in all; 0 in an empty frame."""
    end = min(len(frame), HEAD) if generator.random() < 0.5 else len(frame)
    return int(generator.integers(max(end, 1)))


def _flip(frame: bytes, _other: bytes, generator: Generator) -> bytes:
    at = _place(frame, generator)
    return frame[:at] + bytes(byte ^ 1 << int(generator.integers(8)) for byte in frame[at : at + 1]) + frame[at + 1 :]


def _overwrite(frame: bytes, _other: bytes, generator: Generator) -> bytes:
    at, fresh = _place(frame, generator), generator.bytes(int(generator.integers(1, 9)))
    return frame[:at] + fresh + frame[at + len(fresh) :]


def _extreme(frame: bytes, _other: bytes, generator: Generator) -> bytes:
    at, size = _place(frame, generator), int(generator.integers(1, 11))
    return frame[:at] + (b"\xff", b"\x80", b"\x00")[int(generator.integers(3))] * size + frame[at + size :]


def _insert(frame: bytes, _other: bytes, generator: Generator) -> bytes:
    at = _place(frame, generator)
    return frame[:at] + generator.bytes(int(generator.integers(1, 17))) + frame[at:]


def _delete(frame: bytes, _other: bytes, generator: Generator) -> bytes:
    at = _place(frame, generator)
    return frame[:at] + frame[at + int(generator.integers(1, 17)) :]


def _cut(frame: bytes, _other: bytes, generator: Generator) -> bytes:
    return frame[: _place(frame, generator)]


def _repeat(frame: bytes, _other: bytes, generator: Generator) -> bytes:
    at = _place(frame, generator)
    part = frame[at : at + int(generator.integers(1, 33))]
    return frame[:at] + part * int(generator.integers(2, 200)) + frame[at:]


def _join(frame: bytes, other: bytes, generator: Generator) -> bytes:
    """Fields of two frames in one are a valid envelope, in which the later ones count."""
    if generator.random() < 0.5:
        return frame + other
    return frame[: _place(frame, generator)] + other[_place(other, generator) :]


# --- of fields ------------------------------------------------------------------------------------------------


def _in_envelope(change: Callable[[schema.Envelope, Generator], None]) -> Change:
    """A change of a parsed frame; one that cannot be parsed any more stays as it is."""

    def changed(frame: bytes, _other: bytes, generator: Generator) -> bytes:
        envelope = schema.Envelope()
        try:
            envelope.ParseFromString(frame)
        except Exception:  # protobuf's DecodeError differs by implementation
            return frame
        change(envelope, generator)
        return envelope.SerializeToString()

    return changed


def _in_tensor(change: Callable[[schema.Tensor, Generator], None]) -> Change:
    """A change of one of the tensors; frames without one get one."""

    def changed(envelope: schema.Envelope, generator: Generator) -> None:
        if not envelope.tensors:
            envelope.tensors.add(
                name="x", encoding=schema.ENCODING_INT8, shape=[2], data=b"\1\2", scales=b"\0\0", block=64
            )
        change(envelope.tensors[int(generator.integers(len(envelope.tensors)))], generator)

    return _in_envelope(changed)


def _number(generator: Generator) -> int:
    return NUMBERS[int(generator.integers(len(NUMBERS)))]


def _rename(envelope: schema.Envelope, generator: Generator) -> None:
    name = NAMES[int(generator.integers(len(NAMES)))]
    field = ("kind", "sender", "receiver")[int(generator.integers(3))]
    setattr(envelope, field, name)


def _step(envelope: schema.Envelope, generator: Generator) -> None:
    envelope.round, envelope.step = _number(generator), _number(generator)


def _ids(envelope: schema.Envelope, generator: Generator) -> None:
    envelope.sample_ids = generator.bytes(int(generator.integers(64)) * int(generator.integers(1, 9)))


def _many_tensors(envelope: schema.Envelope, generator: Generator) -> None:
    for at in range(MOST_TENSORS if generator.random() < 0.05 else int(generator.integers(4))):
        envelope.tensors.add(name=f"t{at}", encoding=schema.ENCODING_INT64, shape=[0])


def _size(tensor: schema.Tensor, generator: Generator) -> None:
    if tensor.shape:
        tensor.shape[int(generator.integers(len(tensor.shape)))] = _number(generator)


def _shape(tensor: schema.Tensor, generator: Generator) -> None:
    """Sizes that multiply to anything, behind a zero or not."""
    del tensor.shape[:]
    tensor.shape.extend(_number(generator) for _ in range(int(generator.integers(MOST_DIMENSIONS + 2))))


def _view(tensor: schema.Tensor, generator: Generator) -> None:
    """The same number of values in another shape."""
    sizes = list(tensor.shape)
    generator.shuffle(sizes)
    del tensor.shape[:]
    tensor.shape.extend([*sizes, 1][int(generator.integers(2)) :])


def _tensor_name(tensor: schema.Tensor, generator: Generator) -> None:
    tensor.name = NAMES[int(generator.integers(len(NAMES)))]


def _encoding(tensor: schema.Tensor, generator: Generator) -> None:
    tensor.encoding = int(generator.integers(9))  # type: ignore[assignment]


def _block(tensor: schema.Tensor, generator: Generator) -> None:
    tensor.block = _number(generator)


def _scales(tensor: schema.Tensor, generator: Generator) -> None:
    at = 2 * int(generator.integers(max(len(tensor.scales) // 2, 1)))
    tensor.scales = tensor.scales[:at] + HALVES[int(generator.integers(len(HALVES)))] + tensor.scales[at + 2 :]


def _data(tensor: schema.Tensor, generator: Generator) -> None:
    """Any values, as many as there were."""
    tensor.data = generator.bytes(len(tensor.data))


CHANGES: tuple[Change, ...] = (
    *(_flip, _overwrite, _extreme, _insert, _delete, _cut, _repeat, _join),
    *(_in_envelope(change) for change in (_rename, _step, _ids, _many_tensors)),
    *(_in_tensor(change) for change in (_size, _shape, _view, _tensor_name, _encoding, _block, _scales, _data)),
)
