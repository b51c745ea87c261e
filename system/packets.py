"""What an eavesdropper sees of a message on an encrypted connection: its size, its direction, its place in the order.

*Modelled*, not measured: gRPC puts five bytes before a message, HTTP/2 cuts it into DATA frames of at most 16,384 bytes
with a header of nine (RFC 9113, sections 4.1 and 6.5.2), and TLS 1.3 into records of at most 16,384 bytes, to each of
which it adds a header of five, a type of one and a tag of sixteen, without padding (RFC 8446, sections 5.2 and 5.4).
Left out are header frames, what stands around the pieces that a long message is cut into, acknowledgements and what TCP
and IP add: they follow from the sizes, or are the same for every message. It is taken that an eavesdropper tells where
one message ends and the next begins. In one process there is no meaningful clock, so that a packet has no time.
"""

from __future__ import annotations

from math import ceil

import torch

from .message import Message, Party, encode

EAVESDROPPER: Party = "eavesdropper"
PACKET = "packet"
PREFIX = 5
FRAME, FRAME_HEADER = 16_384, 9
RECORD, RECORD_COST = 16_384, 5 + 1 + 16


def carried(size: int) -> int:
    """Bytes of records that carry a message of so many bytes."""
    framed = PREFIX + size
    framed += ceil(framed / FRAME) * FRAME_HEADER
    return framed + ceil(framed / RECORD) * RECORD_COST


def packet(message: Message, connection: Party, numbers: tuple[str, ...] = ()) -> Message:
    """What is seen of a message on a device's connection: `bytes` (1,) and `up` (1,), 1 where the device sends it.

    `numbers` are what an eavesdropper calls the samples in it, which it knows no ids of.
    """
    size, up = carried(len(encode(message))), int(message.sender == connection)
    seen = {"bytes": torch.tensor([size]), "up": torch.tensor([up])}
    return Message(PACKET, connection, EAVESDROPPER, sample_ids=numbers, tensors=seen)
