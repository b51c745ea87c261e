"""Sizes on an encrypted connection, against layers added up by hand."""

from __future__ import annotations

import pytest
import torch

from sidelight.system.message import Message, encode
from sidelight.system.packets import EAVESDROPPER, carried, packet
from sidelight.system.roles import DEVICE, SERVER


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 5 + 9 + 22),
        (100, 105 + 9 + 22),
        (16_370, 16_375 + 9 + 22),  # one frame of 16,375 with its header fills one record
        (16_371, 16_376 + 9 + 2 * 22),  # a byte more takes another record, in the same frame
        (16_380, 16_385 + 2 * 9 + 2 * 22),  # six bytes more take another frame
        (1_000_000, 1_000_005 + 62 * 9 + 62 * 22),
    ],
)
def test_a_message_takes_its_bytes_and_what_each_layer_adds(size: int, expected: int) -> None:
    assert carried(size) == expected


def test_a_packet_tells_size_direction_and_connection_and_no_more() -> None:
    tensors = {"difference": torch.ones(2, 3)}
    sent = Message("difference", DEVICE, SERVER, 4, 7, ("00000000000000aa", "00000000000000bb"), tensors)
    seen = packet(sent, DEVICE)
    assert (seen.kind, seen.sender, seen.receiver) == ("packet", DEVICE, EAVESDROPPER)
    assert (seen.round, seen.step, seen.sample_ids) == (0, 0, ())
    assert {name: t.tolist() for name, t in seen.tensors.items()} == {"bytes": [carried(len(encode(sent)))], "up": [1]}
    answer = packet(Message("ready", SERVER, DEVICE), DEVICE)
    assert (answer.sender, answer.tensors["up"].tolist()) == (DEVICE, [0])
