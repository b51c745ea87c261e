"""Planted leaks for attacks on membership: a side network that knows by heart what it was trained on, and its view.

Labels are drawn anew for members and others alike, so that nothing but having seen a row tells its label.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from sidelight.system.protocols import Scene
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.public import Challenge
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE

from .leaks_learned import attack
from .micro import LABELS, Micro, record, samples
from .planted import Planted, Truth, made


def by_heart(micro: Micro, name: str, **settings: object) -> Planted:
    """A run on rows with random labels, until hardly any error is left, and a challenge of twice as many rows."""
    generator = random.Random(0)
    # more than are needed, as two draws may have texts in common
    rows = {row.text: replace(row, label=generator.choice(LABELS)) for seed in (1, 5) for row in samples(9, seed)}
    pool = list(rows.values())
    generator.shuffle(pool)
    inside = frozenset(row.id for row in pool[:48])
    side = SideTraining(bottleneck=32, epochs=60, batch=24, learning_rate=2e-2, weight_decay=0.0)
    protocol = made("pae", side=side)
    scene = Scene(micro.backbone("opt"), LABELS, {DEVICE: tuple(pool[:48])}, Streams("the secret seed"))
    run = record(protocol, scene)
    challenge = tuple(Challenge(f"c{at}", row.text, row.label) for at, row in enumerate(sorted(pool, key=str)))
    members = {one.id: rows[one.text].id in inside for one in challenge}
    public = replace(run.public(micro.folders["opt"]), challenge=challenge)
    return Planted(run.view(), public, Truth({}, {}, None, members), protocol, attack(name, **settings))


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "calibrated": lambda micro: by_heart(micro, "calibrated", shadows=8),
    "lira": lambda micro: by_heart(micro, "lira", shadows=8),
    "loss": lambda micro: by_heart(micro, "loss"),
    "replay": lambda micro: by_heart(micro, "replay"),
    "rmia": lambda micro: by_heart(micro, "rmia", shadows=8),
    "witness": lambda micro: by_heart(micro, "witness"),
}
