"""The protocol that a setting describes, run on texts that are as long as the setting says."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ...system.backbone import Backbone
from ...system.data import Sample
from ...system.protocols import PROTOCOLS, Protocol, Scene, interleave
from ...system.protocols.fleet import Fleet
from ...system.protocols.lora_training import LoraTraining
from ...system.protocols.side_training import SideTraining
from ...system.randomness import Streams
from ...system.roles import Device
from ...system.wire import Wire
from .setting import Setting
from .traffic import Costs, counted

SIDE = ("pae", "pae_lm", "mobillm", "fedmobillm")
"""Protocols that train a side network."""
FLEETS = ("fedlora", "fedmobillm", "mesfl", "split", "splitfed", "splitlora", "ushape")
"""Protocols that may have several devices."""
CUT = ("split", "splitfed", "splitlora", "mesfl", "ushape")
AVERAGED = ("splitfed", "splitlora", "mesfl", "fedlora")


def protocol_of(name: str, setting: Setting, backbone: Backbone) -> Protocol:
    """A protocol with a setting's sizes; texts are cut to its positions."""
    around = len(backbone.prefix) + len(backbone.suffix)
    given: dict[str, Any] = {"longest": setting.positions - around, "prompt": ""}
    if name in SIDE:
        given["side"] = SideTraining(bottleneck=setting.rank, epochs=setting.epochs, batch=setting.batch)
    else:
        given["lora"] = LoraTraining(rank=setting.rank, epochs=setting.epochs, batch=setting.batch)
    if name in ("pae", "pae_lm", "fedmobillm"):
        given["batch"] = setting.batch
    if name != "fedlora":
        given["precision"] = setting.precision
    if name in FLEETS:
        given["fleet"] = Fleet(setting.devices)
    if name in CUT:
        given["bottom"] = "trainable" if setting.trainable else "frozen"
    if name in AVERAGED:
        given["every"] = setting.every
    if name == "pae_lm":
        given |= {"entries": setting.entries, "labelled": False}
    return PROTOCOLS[name](**given)


def scene_of(protocol: Protocol, setting: Setting, backbone: Backbone) -> Scene:
    """Texts longer than what is used of them, so that all are cut to one length."""
    labels = tuple(f"class{at}" for at in range(setting.classes))
    rows = tuple(_row(at, setting.positions, labels) for at in range(setting.samples))
    streams = Streams("communications")
    return Scene(backbone, labels, protocol.parties(rows, streams), streams, server_seed="c0")


def _row(at: int, words: int, labels: tuple[str, ...]) -> Sample:
    name = sha256(str(at).encode()).hexdigest()
    text = " ".join(name[place % 64] + name[(place + at + 1) % 64] for place in range(words + 1))
    return Sample(name[:16], text, labels[at % len(labels)], ())


def run(name: str, setting: Setting, backbone: Backbone) -> Costs:
    """What a wire in one process counts of a whole run."""
    protocol = protocol_of(name, setting, backbone)
    roles = protocol.roles(scene_of(protocol, setting, backbone))
    wire = Wire(roles, lambda _message: None)
    interleave([role for role in roles.values() if isinstance(role, Device)], wire)
    return counted(wire.traffic)
