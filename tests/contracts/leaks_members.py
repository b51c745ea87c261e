"""Planted leaks for attacks on membership: a side network that knows by heart what it was trained on, and its view.

Labels are drawn anew for members and others alike, so that nothing but having seen a row tells its label.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from sidelight.attacks import Attack
from sidelight.system.backbone import BACKBONES, TINY, load_backbone
from sidelight.system.data import Sizes, load, split
from sidelight.system.federation import FEDERATION
from sidelight.system.message import Party
from sidelight.system.protocols import Protocol, Scene
from sidelight.system.protocols.fleet import Fleet
from sidelight.system.protocols.lora_training import LoraTraining
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.public import Challenge
from sidelight.system.randomness import Streams
from sidelight.system.roles import SERVER

from .leaks_learned import attack
from .micro import LABELS, Micro, record, samples
from .planted import Planted, Truth, made


def by_heart(micro: Micro, name: str, **settings: object) -> Planted:
    """A side network's run on rows with random labels, until hardly any error is left."""
    side = SideTraining(bottleneck=32, epochs=60, batch=24, learning_rate=2e-2, weight_decay=0.0)
    return challenged(micro, made("pae", side=side), SERVER, attack(name, **settings))


def federated(micro: Micro) -> Planted:
    """The same of two devices that average."""
    lora = LoraTraining(rank=16, epochs=200, batch=24, learning_rate=1e-2)
    return challenged(micro, made("fedlora", lora=lora, fleet=Fleet(devices=2)), FEDERATION, attack("shared"))


def challenged(micro: Micro, protocol: Protocol, party: Party, attacking: Attack) -> Planted:
    """A run on half of the rows, and a challenge of all."""
    generator = random.Random(0)
    # more than are needed, as two draws may have texts in common
    rows = {row.text: replace(row, label=generator.choice(LABELS)) for seed in (1, 5) for row in samples(9, seed)}
    pool = list(rows.values())
    generator.shuffle(pool)
    inside = frozenset(row.id for row in pool[:48])
    streams = Streams("the secret seed")
    scene = Scene(micro.backbone("opt"), LABELS, protocol.parties(pool[:48], streams), streams)
    run = record(protocol, scene)
    challenge = tuple(Challenge(f"c{at}", row.text, row.label) for at, row in enumerate(sorted(pool, key=str)))
    members = {one.id: rows[one.text].id in inside for one in challenge}
    public = replace(run.public(micro.folders["opt"]), challenge=challenge)
    return Planted(run.view(party), public, Truth({}, {}, None, members), protocol, attacking)


def language(micro: Micro) -> Planted:
    """Language modelling on sentences, with a backbone that knows the language: where it errs, it had an opinion."""
    side = SideTraining(bottleneck=64, epochs=12, batch=4, learning_rate=2e-3, weight_decay=0.0)
    protocol, streams = made("pae_lm", entries=16, side=side), Streams("the secret seed")
    data = load("messages", streams.numpy("data"), 6, 300)
    pool = split(data, Sizes(96, 12, 0, 0), streams.numpy("split")).victim_train
    scene = Scene(load_backbone(TINY), data.labels, protocol.parties(pool[:48], streams), streams)
    run, inside = record(protocol, scene), {row.text for row in pool[:48]}
    challenge = tuple(Challenge(f"c{at}", row.text, row.label) for at, row in enumerate(sorted(pool, key=str)))
    public = replace(run.public(BACKBONES[TINY]), challenge=challenge)
    members = {one.id: one.text in inside for one in challenge}
    return Planted(run.view(SERVER), public, Truth({}, {}, None, members), protocol, attack("ezmia"))


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "ezmia": language,
    "calibrated": lambda micro: by_heart(micro, "calibrated", shadows=8),
    "lira": lambda micro: by_heart(micro, "lira", shadows=8),
    "loss": lambda micro: by_heart(micro, "loss"),
    "replay": lambda micro: by_heart(micro, "replay"),
    "rmia": lambda micro: by_heart(micro, "rmia", shadows=8),
    "shared": federated,
    "witness": lambda micro: by_heart(micro, "witness"),
}
