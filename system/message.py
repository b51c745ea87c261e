"""A message: what one party sends to another, and its bytes (schema: message.proto)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy
import torch

from . import message_pb2 as schema
from .codec import PRECISIONS, Packed, Precision, pack, unpack
from .errors import ProtocolError

Party = str
"""A role's name: "device-0", "server", ..."""

ID_BYTES = 8
MOST_VALUES = 1 << 28
"""Largest tensor accepted from a peer, in values: a hostile shape must not exhaust memory."""

_ENCODING = {
    "fp32": schema.ENCODING_FLOAT32,
    "fp16": schema.ENCODING_FLOAT16,
    "int8": schema.ENCODING_INT8,
    "int4": schema.ENCODING_INT4,
    "int2": schema.ENCODING_INT2,
}
_WHOLE = {
    schema.ENCODING_INT64: ("<i8", torch.int64),
    schema.ENCODING_UINT16: ("<u2", torch.int32),
    schema.ENCODING_INT32: ("<i4", torch.int32),
}
"""How whole numbers lie in bytes, and what they are read as."""


@dataclass(frozen=True)
class Message:
    """A kind, the ids of the samples it speaks of, and named tensors."""

    kind: str
    sender: Party
    receiver: Party
    round: int = 0
    """Passes over the data, from 0; between a device and who averages, averages so far."""
    step: int = 0
    """The sender's messages of this kind so far, from 0."""
    sample_ids: tuple[str, ...] = ()
    """Sixteen hexadecimal digits each; they say nothing about the sample."""
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Floating-point tensors cross at `precision`, integer ones as they are; 32-bit ones in two bytes where all fit."""
    precision: Precision = "fp32"

    def tensor(self, name: str, *shape: int | None) -> torch.Tensor:
        """A finite tensor of this shape, None being any size; raises ProtocolError where none came."""
        found = self.tensors.get(name)
        if found is None:
            raise ProtocolError(f"{self.kind} of {self.sender} holds no tensor {name!r}; send one")
        if found.dim() != len(shape) or any(
            want not in (None, size) for size, want in zip(found.shape, shape, strict=True)
        ):
            raise ProtocolError(f"{name!r} of {self.sender} has the shape {tuple(found.shape)}; send {shape}")
        if not found.isfinite().all():
            raise ProtocolError(f"{name!r} of {self.sender} holds values that are no numbers; send finite ones")
        return found


def encode(message: Message) -> bytes:
    """The bytes that cross the wire."""
    envelope = schema.Envelope(
        kind=message.kind,
        sender=message.sender,
        receiver=message.receiver,
        round=message.round,
        step=message.step,
        sample_ids=bytes.fromhex("".join(message.sample_ids)),
    )
    for name, tensor in message.tensors.items():
        envelope.tensors.append(_tensor_to_schema(name, tensor, message.precision))
    return envelope.SerializeToString(deterministic=True)


def decode(data: bytes) -> Message:
    """The message in the bytes; raises ProtocolError for anything that `encode` cannot have made."""
    envelope = schema.Envelope()
    try:
        envelope.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError differs by implementation
        raise ProtocolError("the bytes are no Sidelight envelope") from error
    if len(envelope.sample_ids) % ID_BYTES:
        raise ProtocolError(f"sample ids take {ID_BYTES} bytes each; {len(envelope.sample_ids)} bytes came")
    digits = envelope.sample_ids.hex()
    ids = tuple(digits[i : i + 2 * ID_BYTES] for i in range(0, len(digits), 2 * ID_BYTES))
    if len({t.name for t in envelope.tensors}) != len(envelope.tensors):
        raise ProtocolError("two tensors of one message have the same name")
    precisions = {_precision(t) for t in envelope.tensors if t.encoding not in _WHOLE}
    if len(precisions) > 1:
        raise ProtocolError("the tensors of one message cross at one precision")
    return Message(
        kind=envelope.kind,
        sender=envelope.sender,
        receiver=envelope.receiver,
        round=envelope.round,
        step=envelope.step,
        sample_ids=ids,
        tensors={t.name: _tensor_from_schema(t) for t in envelope.tensors},
        precision=precisions.pop() if precisions else "fp32",
    )


def _tensor_to_schema(name: str, tensor: torch.Tensor, precision: Precision) -> schema.Tensor:
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point():
        encoding = _whole_encoding(tensor)
        whole = tensor.detach().to("cpu", torch.int64).contiguous().numpy().astype(_WHOLE[encoding][0])
        return schema.Tensor(name=name, encoding=encoding, shape=shape, data=whole.tobytes())
    packed = pack(tensor, precision)
    return schema.Tensor(
        name=name,
        encoding=_ENCODING[precision],
        shape=shape,
        data=packed.data,
        scales=packed.scales,
        block=packed.block,
    )


def _tensor_from_schema(tensor: schema.Tensor) -> torch.Tensor:
    shape = tuple(tensor.shape)
    count = math.prod(shape)
    # an empty dimension must not hide others whose strides overflow
    if math.prod(max(size, 1) for size in shape) > MOST_VALUES:
        raise ProtocolError(f"a tensor holds at most {MOST_VALUES} values; {tensor.name!r} claims the shape {shape}")
    if tensor.encoding in _WHOLE:
        form, dtype = _WHOLE[tensor.encoding]
        size = numpy.dtype(form).itemsize * count
        if len(tensor.data) != size:
            raise ProtocolError(f"an integer tensor of shape {shape} takes {size} bytes, not {len(tensor.data)}")
        # through int64: numpy's unsigned integers have no counterpart that torch computes with
        return torch.from_numpy(numpy.frombuffer(tensor.data, form).astype(numpy.int64)).to(dtype).view(shape)
    return unpack(Packed(tensor.data, tensor.scales, tensor.block), shape, _precision(tensor))


def _whole_encoding(tensor: torch.Tensor) -> schema.Encoding:
    if tensor.dtype != torch.int32:
        return schema.ENCODING_INT64
    fits = not tensor.numel() or (int(tensor.min()) >= 0 and int(tensor.max()) < 1 << 16)
    return schema.ENCODING_UINT16 if fits else schema.ENCODING_INT32


def _precision(tensor: schema.Tensor) -> Precision:
    for precision in PRECISIONS:
        if _ENCODING[precision] == tensor.encoding:
            return precision
    raise ProtocolError(f"tensor {tensor.name!r} has the unknown encoding {tensor.encoding}")
