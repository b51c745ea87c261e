"""Bytes of tensors alone, as they are counted, are those that cross."""

from __future__ import annotations

import pytest
import torch

from sidelight.system import message_pb2 as schema
from sidelight.system.codec import PRECISIONS, Precision
from sidelight.system.message import Message, encode

SHAPES = [(), (1,), (3, 64), (3, 65), (2, 3, 129), (0, 5), (5, 0)]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_payload_is_what_stands_in_the_envelope(shape: tuple[int, ...], precision: Precision) -> None:
    tensors = {"values": torch.ones(shape), "whole": torch.ones(shape, dtype=torch.int64)}
    message = Message("activations", "device-0", "server", tensors=tensors, precision=precision)
    envelope = schema.Envelope.FromString(encode(message))
    assert message.payload == sum(len(tensor.data) + len(tensor.scales) for tensor in envelope.tensors)
