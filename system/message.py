"""A message: what one party sends to another, and its bytes (schema: message.proto)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy
import torch

from . import envelope as claims
from . import message_pb2 as schema
from .codec import PRECISIONS, Packed, Precision, pack, packed_bytes, unpack
from .errors import ProtocolError

Party = str
"""A role's name: "device-0", "server", ..."""

MOST_VALUES = 1 << 28
"""Values of all tensors of a message from a peer, together: hostile shapes must not exhaust memory."""
BYTES_A_VALUE = 10
"""Memory that decoding takes for a value, beside three copies of its bytes."""
BYTES_AN_ID = 128

_ENCODING = {
    "fp32": schema.ENCODING_FLOAT32,
    "fp16": schema.ENCODING_FLOAT16,
    "bf16": schema.ENCODING_BFLOAT16,
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

    @property
    def payload(self) -> int:
        """Bytes of the tensors' values and scales alone, as they cross."""
        return sum(
            packed_bytes(tuple(tensor.shape), self.precision)
            if tensor.is_floating_point()
            else numpy.dtype(_WHOLE[_whole_encoding(tensor)][0]).itemsize * tensor.numel()
            for tensor in self.tensors.values()
        )


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
        _fill(envelope.tensors.add(name=name, shape=tensor.shape), tensor, message.precision)
    return envelope.SerializeToString(deterministic=True)


def decode(data: bytes, most_values: int = MOST_VALUES) -> Message:
    """The message in the bytes; raises ProtocolError for anything that `encode` cannot have made.

    So it does where all tensors together hold more than `most_values` values, empty dimensions counted as 1. Whatever
    the bytes are, at most `decoding_bytes(len(data), most_values)` bytes are allocated.
    """
    if len(data) > longest(most_values):
        raise ProtocolError(f"a message takes at most {longest(most_values)} bytes, not {len(data)}; send several")
    claims.check(data)
    envelope = schema.Envelope()
    try:
        envelope.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError differs by implementation
        raise ProtocolError("the bytes are no Sidelight envelope") from error
    tensors = list(envelope.tensors)
    precision = _checked(tensors, most_values)
    return Message(
        kind=claims.named("a kind", envelope.kind),
        sender=claims.named("a party", envelope.sender),
        receiver=claims.named("a party", envelope.receiver),
        round=envelope.round,
        step=envelope.step,
        sample_ids=claims.ids_of(envelope.sample_ids),
        tensors={t.name: _tensor_from_schema(t) for t in tensors},
        precision=precision,
    )


def longest(most_values: int = MOST_VALUES) -> int:
    """Bytes of the longest message that is read: eight a value, a scale for each, ids and names."""
    return 10 * most_values + claims.MOST_IDS * claims.ID_BYTES + (1 << 20)


def decoding_bytes(size: int, most_values: int = MOST_VALUES) -> int:
    """Bytes that `decode` may allocate for this many bytes, the message among them."""
    values, ids = min(most_values, 4 * size), min(claims.MOST_IDS, size // claims.ID_BYTES)
    return 3 * size + BYTES_A_VALUE * values + BYTES_AN_ID * ids + (1 << 20)


def _checked(tensors: list[schema.Tensor], most_values: int) -> Precision:
    """The one precision of a message's tensors; ProtocolError where names, shapes or encodings are no sender's."""
    names = {claims.named("a tensor's name", tensor.name, claims.MOST_NAME) for tensor in tensors}
    if len(names) != len(tensors):
        raise ProtocolError("two tensors of one message have the same name; name each differently")
    if any(len(tensor.shape) > claims.MOST_DIMENSIONS for tensor in tensors):
        raise ProtocolError(f"a tensor has at most {claims.MOST_DIMENSIONS} dimensions; send fewer")
    # an empty dimension must not hide others whose strides overflow
    if sum(math.prod(max(size, 1) for size in tensor.shape) for tensor in tensors) > most_values:
        raise ProtocolError(f"the tensors of a message hold at most {most_values} values; send fewer at a time")
    precisions = {_precision(tensor) for tensor in tensors if tensor.encoding not in _WHOLE}
    if len(precisions) > 1:
        raise ProtocolError("the tensors of one message cross at one precision; send one message for each")
    return precisions.pop() if precisions else "fp32"


def _fill(entry: schema.Tensor, tensor: torch.Tensor, precision: Precision) -> None:
    """Put a tensor's values into its place in an envelope: made elsewhere, they would be copied there once more."""
    if not tensor.is_floating_point():
        entry.encoding = _whole_encoding(tensor)
        whole = tensor.detach().to("cpu", torch.int64).contiguous().numpy().astype(_WHOLE[entry.encoding][0])
        entry.data = whole.tobytes()
        return
    entry.encoding = _ENCODING[precision]
    entry.data, entry.scales, entry.block = pack(tensor, precision)


def _tensor_from_schema(tensor: schema.Tensor) -> torch.Tensor:
    shape = tuple(tensor.shape)
    if tensor.encoding not in _WHOLE:
        return unpack(Packed(tensor.data, tensor.scales, tensor.block), shape, _precision(tensor))
    form, dtype = _WHOLE[tensor.encoding]
    data, size = tensor.data, numpy.dtype(form).itemsize * math.prod(shape)
    if len(data) != size or tensor.scales or tensor.block:
        raise ProtocolError(f"{math.prod(shape)} whole numbers take {size} bytes and no scales, not {len(data)}")
    # through int64: numpy's unsigned integers have no counterpart that torch computes with
    return torch.from_numpy(numpy.frombuffer(data, form).astype(numpy.int64)).to(dtype).view(shape)


def _whole_encoding(tensor: torch.Tensor) -> schema.Encoding:
    if tensor.dtype != torch.int32:
        return schema.ENCODING_INT64
    fits = not tensor.numel() or (int(tensor.min()) >= 0 and int(tensor.max()) < 1 << 16)
    return schema.ENCODING_UINT16 if fits else schema.ENCODING_INT32


def _precision(tensor: schema.Tensor) -> Precision:
    for precision in PRECISIONS:
        if _ENCODING[precision] == tensor.encoding:
            return precision
    raise ProtocolError(
        f"tensor {claims.quoted(tensor.name)} has the unknown encoding {tensor.encoding}; send one of the schema's"
    )
