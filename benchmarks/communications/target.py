"""Bytes until a model is as accurate as asked for: real runs with a growing number of passes on a device's rows.

The target is 95 % of the accuracy that LoRA in one process ends with; the floor, that of useful models, is the
majority's accuracy and 80 % of what LoRA gains over it. Each protocol gets the fewest of some numbers of epochs with
which it is as accurate, chosen on the rows that it is told of; where none is, that is said and no bytes are told. What
`pae` and `fedmobillm` send does not depend on their epochs; they have their defaults. `pae_lm` has no accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...system.data import Split as Parts
from ...system.protocols import Protocol
from ...system.protocols.fedlora import FedLora
from ...system.protocols.fedmobillm import FedMobiLLM
from ...system.protocols.fleet import Fleet
from ...system.protocols.local import Local
from ...system.protocols.lora_training import LoraTraining
from ...system.protocols.mesfl import MeSFL
from ...system.protocols.mobillm import MobiLLM
from ...system.protocols.pae import PAE
from ...system.protocols.side_training import SideTraining
from ...system.protocols.split import Split
from ...system.protocols.splitfed import SplitFed
from ...system.protocols.splitlora import SplitLoRA
from ...system.protocols.ushape import UShape
from ..apart import Case, forked, run
from ..finding import Bench, Cell, Table
from ..material import rows

TRAIN, TEST = 400, 400
FINAL = 6
"""Epochs of LoRA in one process."""
EPOCHS = (1, 2, 4, 6)
"""Tried in turn."""
SHARE, GAIN = 0.95, 0.8
FLEET = Fleet(4)


class Found(NamedTuple):
    """What a run ended with."""

    accuracy: float
    bytes: float
    """A row, both ways."""


def lora(epochs: int) -> LoraTraining:
    """The same for all."""
    return LoraTraining(epochs=epochs)


def side(epochs: int) -> SideTraining:
    """MobiLLM's, with fewer or more epochs."""
    return SideTraining(bottleneck=64, epochs=epochs, batch=16, learning_rate=8e-3)


MADE: Mapping[str, Callable[[int], Protocol]] = {
    "mobillm": lambda epochs: MobiLLM(side=side(epochs), precision="fp16"),
    "split": lambda epochs: Split(bottom="trainable", lora=lora(epochs), precision="fp16"),
    "ushape": lambda epochs: UShape(bottom="trainable", lora=lora(epochs), precision="fp16"),
    "splitfed": lambda epochs: SplitFed(lora=lora(epochs), fleet=FLEET, precision="fp16"),
    "mesfl": lambda epochs: MeSFL(lora=lora(epochs), fleet=FLEET, cuts=(1, 2, 3), precision="fp16"),
    "splitlora": lambda epochs: SplitLoRA(lora=lora(epochs), fleet=FLEET, every=25, precision="fp16"),
    "fedlora": lambda epochs: FedLora(lora=lora(epochs), fleet=FLEET),
}
ONCE: Mapping[str, Protocol] = {"pae": PAE(precision="fp16"), "fedmobillm": FedMobiLLM(precision="fp16", fleet=FLEET)}
"""What crosses does not depend on the epochs of these."""


def measured(bench: Bench) -> Table:
    """Every protocol's bytes to both targets."""
    parts = rows(bench, TRAIN, TEST)

    def found(protocol: Protocol) -> Found:
        return Found(**forked(lambda: _costs(Case(protocol, bench.backbone, parts, bench.seed))))

    final = found(Local(lora=lora(FINAL))).accuracy
    majority = most_common(parts)
    floor, target = majority + GAIN * (final - majority), SHARE * final
    listed = []
    for name in (*ONCE, *MADE):
        bench.say(f"{name} to accuracies of {floor:.3f} and {target:.3f}")
        tries = {"once": found(ONCE[name])} if name in ONCE else _tried(MADE[name], found, target)
        listed.append({"protocol": name, **_columns("floor", tries, floor), **_columns("target", tries, target)})
    return Table(
        f"Bytes a row, both ways, to the utility floor, an accuracy of {floor:.3f}, and to a target of {target:.3f}, "
        f"{100 * SHARE:.0f} % of the {final:.3f} of LoRA in one process; measured: {bench.model} on {bench.texts}, "
        f"{len(parts.victim_train)} rows, fp16, one draw, epochs chosen on the test rows; side networks of "
        f"{PAE.side.bottleneck} (`mobillm`: 64), LoRA of rank {lora(1).rank}, each protocol's own training; a download "
        "counts",
        listed,
    )


def _costs(case: Case) -> Mapping[str, float]:
    found = run(case, lambda _message: None)
    return {"accuracy": found["accuracy"], "bytes": found["uplink"] + found["downlink"]}


def most_common(parts: Parts) -> float:
    """The share of test rows that a guess of the most frequent class gets right."""
    labels = Counter(sample.label for sample in parts.victim_test)
    return max(labels.values()) / len(parts.victim_test)


def _tried(make: Callable[[int], Protocol], found: Callable[[Protocol], Found], target: float) -> dict[str, Found]:
    """By epochs, up to the first with which the target is reached."""
    tries: dict[str, Found] = {}
    for epochs in EPOCHS:
        tries[str(epochs)] = found(make(epochs))
        if tries[str(epochs)].accuracy >= target:
            break
    return tries


def _columns(what: str, tries: Mapping[str, Found], target: float) -> dict[str, Cell]:
    """The first try that reaches a target; the last accuracy where none does."""
    epochs = next((epochs for epochs, one in tries.items() if one.accuracy >= target), None)
    one = tries[epochs or list(tries)[-1]]
    return {
        f"epochs to {what}": epochs or "not reached",
        f"accuracy ({what})": one.accuracy,
        f"bytes to {what}": one.bytes if epochs else None,
    }
