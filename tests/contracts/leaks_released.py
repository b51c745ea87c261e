"""Planted leaks in adapters that were tuned elsewhere: one that knows its rows by heart, one that may be asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from sidelight.attacks import Attack
from sidelight.system.data import Sample
from sidelight.system.protocols import Scene
from sidelight.system.protocols.released import RECIPIENT, AdapterRecipe
from sidelight.system.public import Challenge
from sidelight.system.randomness import Streams
from sidelight.system.roles import DEVICE

from .elsewhere import FORM, adapter
from .leaks_learned import attack
from .micro import AUXILIARY, LABELS, QUERIES, VICTIM, Micro, record, samples
from .planted import Planted, Truth, made

MEMBERS = 48


def pool() -> list[Sample]:
    """Rows with labels drawn anew, members first: nothing but having seen a row tells its label."""
    generator = random.Random(0)
    rows = {row.text: replace(row, label=generator.choice(LABELS)) for seed in (1, 5) for row in samples(9, seed)}
    found = list(rows.values())
    generator.shuffle(found)
    return found


def released(
    micro: Micro, attacking: Attack, task: str = "CAUSAL_LM", tuned_on: slice = slice(MEMBERS), epochs: int = 60
) -> Planted:
    """An adapter that was tuned on some of the rows, and a challenge of all."""
    rows = pool()
    own = tuple(rows[tuned_on])
    form = {"form": FORM} if task == "CAUSAL_LM" else {}
    recipe = AdapterRecipe(epochs, batch=16, learning_rate=1e-2)
    protocol = made("released", adapter=str(adapter(task, "opt", own, epochs)), recipe=recipe, **form)
    scene = Scene(micro.backbone("opt"), LABELS, {DEVICE: own}, Streams("the secret seed"))
    run, inside = record(protocol, scene), {row.text for row in own}
    challenge = tuple(Challenge(f"c{at}", row.text, row.label) for at, row in enumerate(sorted(rows, key=str)))
    public = replace(run.public(micro.folders["opt"]), challenge=challenge)
    members = {one.id: one.text in inside for one in challenge}
    return Planted(run.view(RECIPIENT), public, Truth({}, {}, None, members), protocol, attacking)


def asked(micro: Micro) -> Planted:
    """A classifier that learned classes rather than rows, and answered the attacker's own texts."""
    taught = (*VICTIM, *samples(24, seed=4))
    protocol = made("released", adapter=str(adapter("SEQ_CLS", "opt", taught, epochs=15)), access="answers")
    questions = tuple(row.text for row in AUXILIARY)
    scene = Scene(micro.backbone("opt"), LABELS, {DEVICE: VICTIM}, Streams("the secret seed"), questions=questions)
    run = record(protocol, scene)
    outputs = run.device.predict([sample.text for sample in QUERIES])
    truth = Truth(run.labels(), run.tokens(), outputs)
    return Planted(run.view(RECIPIENT), run.public(micro.folders["opt"]), truth, protocol, attack("knockoff"))


LEAKS: dict[str, Callable[[Micro], Planted]] = {
    "gain": lambda micro: released(micro, attack("gain")),
    "knockoff": asked,
    "mink": lambda micro: released(micro, attack("mink", share=0.5)),
}
