"""Bytes until a model is as accurate as asked for: real runs with a growing number of passes on a device's rows.

The target is 95 % of the accuracy that LoRA in one process ends with. Each protocol gets the fewest of some numbers of
epochs with which it is as accurate; where none is, that is said and no bytes are told. What `pae` and `fedmobillm` send
does not depend on their epochs; they have their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...system.protocols import Protocol
from ...system.protocols.fedlora import FedLora
from ...system.protocols.fedmobillm import FedMobiLLM
from ...system.protocols.fleet import Fleet
from ...system.protocols.local import Local
from ...system.protocols.lora_training import LoraTraining
from ...system.protocols.mobillm import MobiLLM
from ...system.protocols.pae import PAE
from ...system.protocols.side_training import SideTraining
from ...system.protocols.split import Split
from ...system.protocols.splitlora import SplitLoRA
from ...system.protocols.ushape import UShape
from ..apart import Case, forked, run
from ..finding import Bench, Cell, Table
from ..material import rows

TRAIN, TEST = 400, 400
FINAL = 6
"""Epochs of LoRA in one process."""
EPOCHS = (1, 2, 3, 4, 6)
"""Tried in turn."""
SHARE = 0.95
FLEET = Fleet(4)


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
    "splitlora": lambda epochs: SplitLoRA(lora=lora(epochs), fleet=FLEET, every=25, precision="fp16"),
    "fedlora": lambda epochs: FedLora(lora=lora(epochs), fleet=FLEET),
}
ONCE: Mapping[str, Protocol] = {"pae": PAE(precision="fp16"), "fedmobillm": FedMobiLLM(precision="fp16", fleet=FLEET)}
"""What crosses does not depend on the epochs of these."""


def measured(bench: Bench) -> Table:
    """Every protocol's bytes to the target."""
    parts = rows(bench, TRAIN, TEST)

    def found(protocol: Protocol) -> Mapping[str, float]:
        return forked(lambda: run(Case(protocol, bench.backbone, parts, bench.seed), lambda _message: None))

    final = found(Local(lora=lora(FINAL)))["accuracy"]
    target = SHARE * final
    listed: list[dict[str, Cell]] = []
    for name, protocol in ONCE.items():
        bench.say(f"{name} to an accuracy of {target:.3f}")
        listed.append(_row(name, "once", found(protocol), target))
    for name, make in MADE.items():
        bench.say(f"{name} to an accuracy of {target:.3f}")
        listed.append(_fewest(name, make, found, target))
    return Table(
        f"Bytes to an accuracy of {target:.3f} ({100 * SHARE:.0f} % of that of LoRA in one process, {final:.3f}), "
        f"measured: {bench.backbone} on {bench.data}, {len(parts.victim_train)} rows, fp16, one draw",
        listed,
    )


def _fewest(
    name: str, make: Callable[[int], Protocol], found: Callable[[Protocol], Mapping[str, float]], target: float
) -> dict[str, Cell]:
    for epochs in EPOCHS:
        costs = found(make(epochs))
        if costs["accuracy"] >= target:
            break
    return _row(name, str(epochs), costs, target)


def _row(name: str, epochs: str, costs: Mapping[str, float], target: float) -> dict[str, Cell]:
    reached = costs["accuracy"] >= target
    return {
        "protocol": name,
        "epochs on the device": epochs,
        "accuracy": costs["accuracy"],
        "reached": "yes" if reached else "no",
        "bytes up a row": costs["uplink"] if reached else None,
        "bytes down a row": costs["downlink"] if reached else None,
    }
