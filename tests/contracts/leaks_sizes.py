"""A planted leak for who sees sizes alone: texts whose length is their class, each in a message of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sidelight.attacks import ATTACKS
from sidelight.audits.runs.eavesdropping import Tap
from sidelight.system.data import Sample
from sidelight.system.message import Message
from sidelight.system.packets import EAVESDROPPER
from sidelight.system.protocols import Protocol, Scene
from sidelight.system.protocols.side_training import SideTraining
from sidelight.system.public import Example
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE
from sidelight.system.view import View

from .micro import FILLERS, LABELS, Micro, record
from .planted import Planted, Truth, made

EACH = 8
"""Texts of a class."""


def by_length() -> tuple[Sample, ...]:
    """Texts with three words more for each class that comes later; it is one word, as others have other tokens."""
    texts = [" ".join(FILLERS[:1] * (2 + 3 * place)) for place in range(len(LABELS))]
    named = zip(texts * EACH, LABELS * EACH, strict=True)
    return tuple(Sample(f"{at:016x}", text, label, ()) for at, (text, label) in enumerate(named))


def overheard(micro: Micro, protocol: Protocol, rows: tuple[Sample, ...]) -> Planted:
    """Rows that a device sends, as an eavesdropper sees them."""
    scene = Scene(micro.backbone("opt"), LABELS, {DEVICE: rows}, Streams("the secret seed"))
    run = record(protocol, scene)
    packets: list[Message] = []
    tap = Tap(packets.append, [DEVICE])
    for message in run.messages:
        tap(message)
    labels = {row.id: LABELS.index(row.label) for row in tap.numbered(rows)}
    auxiliary = tuple(Example(row.text, row.label) for row in by_length())
    public = replace(run.public(micro.folders["opt"]), auxiliary=auxiliary)
    view = View(frozenset({EAVESDROPPER}), packets, {}, {})
    return Planted(view, public, Truth(labels, {}), None, ATTACKS["size"]())


def mobillm(batch: int = 1, **settings: Any) -> Protocol:
    return made("mobillm", side=SideTraining(bottleneck=8, epochs=1, batch=batch, learning_rate=1e-3), **settings)


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "size": lambda micro: overheard(micro, mobillm(), by_length()),
}
