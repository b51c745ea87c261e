"""Planted leaks for attacks that rebuild a tuned model whose side network or bottom is keyed, private or half known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sidelight.attacks import ATTACKS, Attack
from sidelight.system.protocols import Protocol, Scene
from sidelight.system.public import Known
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE

from .leaks_grouped import ROWS, defence, secret_head
from .micro import LABELS, Micro, record
from .planted import Planted, pae, planted_in, split


def keyed(micro: Micro, attack: Attack, protocol: Protocol, known: int = 0) -> Planted:
    """A run on many rows, with the labels of the first `known` rows of each class given away."""
    scene = Scene(micro.backbone("opt"), LABELS, {DEVICE: ROWS}, Streams("the secret seed"))
    planted = planted_in(record(protocol, scene), micro, attack)
    told = tuple(Known(row.id, row.label) for row in ROWS[: known * len(LABELS)])
    return replace(planted, public=replace(planted.public, known=told, priors=(1 / len(LABELS),) * len(LABELS)))


def private(planted: Planted) -> Planted:
    """The backbone is withheld, and the attacker has a relative that has not moved."""
    public = planted.public
    return replace(planted, public=replace(public, backbone=None, head=None, relative=public.backbone))


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "complete": lambda micro: keyed(micro, ATTACKS["complete"](), pae(defences=(defence("rotate"),)), known=5),
    "distil": lambda micro: private(keyed(micro, ATTACKS["distil"](), secret_head())),
    "head": lambda micro: keyed(micro, ATTACKS["head"](), secret_head()),
    "shadow": lambda micro: keyed(micro, ATTACKS["shadow"](), split(learning_rate=2e-3, bottom="trainable", cut=2)),
    "transform": lambda micro: keyed(micro, ATTACKS["transform"](), pae(defences=(defence("rotate"),))),
}
