"""Real frames: the bytes of a few messages of every kind that every protocol sends, at every precision it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from ...system.backbone import TINY, Backbone, load_backbone
from ...system.codec import PRECISIONS
from ...system.data import Sample
from ...system.message import Message, encode
from ...system.protocols import PROTOCOLS, Protocol, Scene, interleave
from ...system.protocols.fleet import Fleet
from ...system.protocols.lora_training import LoraTraining
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import Device
from ...system.wire import Wire

SMALL: dict[str, Any] = {
    "side": SideTraining(bottleneck=1, epochs=1, batch=2),
    "lora": LoraTraining(rank=1, epochs=1, batch=2),
    "fleet": Fleet(2),
    "longest": 4,
}
"""Settings under which messages are short, for the protocols that have them."""
SAMPLES = tuple(Sample(f"{at:016x}", f"a text about {label}", label, ()) for at, label in enumerate("abab"))
LABELS = ("a", "b")
MOST_BYTES = 1 << 15
"""Longer messages than this are left out: their bytes are all alike, and a mutation seldom meets their fields."""


def recorded(backbone: str = TINY) -> list[bytes]:
    """The shortest frame of each protocol, precision, kind and pair of parties, without those that are the same."""
    loaded = load_backbone(backbone)
    frames: dict[tuple[str, ...], bytes] = {}
    for protocol in small_protocols():
        for message in messages(protocol, loaded):
            key = (protocol.name, message.precision, message.kind, message.sender, message.receiver)
            frame = encode(message)
            if len(frame) < min(MOST_BYTES, len(frames.get(key, bytes(MOST_BYTES)))):
                frames[key] = frame
    return list(dict.fromkeys(frames.values()))


def small_protocols() -> Iterator[Protocol]:
    """Every protocol that trains, with small settings, at each precision where it has one."""
    for name in (name for name in PROTOCOLS if PROTOCOLS[name].trains):
        has = {field.name for field in fields(PROTOCOLS[name])}
        settings: dict[str, Any] = {setting: value for setting, value in SMALL.items() if setting in has}
        precisions = [{"precision": precision} for precision in PRECISIONS] if "precision" in has else [{}]
        for each in precisions:
            yield PROTOCOLS[name](**{**settings, **each})


def messages(protocol: Protocol, backbone: Backbone) -> list[Message]:
    """All that crosses in a run, as its receivers decode it."""
    streams, heard = Streams("frames"), list[Message]()
    scene = Scene(backbone, LABELS, protocol.parties(SAMPLES, streams), streams)
    roles = protocol.roles(scene)
    interleave([role for role in roles.values() if isinstance(role, Device)], Wire(roles, heard.append))
    return heard
