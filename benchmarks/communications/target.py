"""`sidelight bench bytes-to-accuracy`: real runs with a growing number of passes, until a model is as good as asked.

The target is 95 % of the accuracy that LoRA in one process ends with; the floor, that of useful models, is the
majority's accuracy and 80 % of what LoRA gains over it. Each protocol gets the fewest of some numbers of epochs with
which it is as accurate; where none is, that is said and no bytes are told. Levels and epochs are settled by some test
rows, accuracies are told of others, which are no near-duplicates of those. All of it DRAWS times, each with rows and
weights of its own. What `pae` and `fedmobillm` send does not depend on their epochs; they have their defaults. `pae_lm`
has no accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from statistics import mean, median
from typing import NamedTuple

from ...system.backbone import load_backbone
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
from ..apart import Case, accuracy, forked, trained
from ..finding import Bench, Cell, Finding
from ..material import rows

TRAIN, TEST = 400, 400
DRAWS = 3
FINAL = 6
"""Epochs of LoRA in one process."""
EPOCHS = (1, 2, 4, 6)
"""Tried in turn."""
SHARE, GAIN = 0.95, 0.8
SIDE_BY_SIDE = 2
"""Runs at a time, each in a process of one thread with a model of its own: nothing is timed."""
FLEET = Fleet(4)


class Draw(NamedTuple):
    """Rows of one draw."""

    seed: str
    train: Parts
    """With the test rows that levels and epochs are settled by."""
    aside: Parts
    """With those that accuracies are told of."""


class Found(NamedTuple):
    """What a run ended with."""

    accuracy: float
    """On the rows that settle."""
    told: float
    """On the others."""
    bytes: float
    """A row, both ways."""


class Levels(NamedTuple):
    """Accuracies that are asked for."""

    floor: float
    target: float
    final: float
    """Of LoRA in one process."""


Tries = Mapping[str, Found]
"""By epochs, in the order in which they were made."""


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


def drawn(bench: Bench) -> Draw:
    parts = rows(bench, TRAIN, TEST, aside=TEST)
    return Draw(bench.seed, parts, replace(parts, victim_test=parts.non_member))


def measure(bench: Bench) -> Finding:
    """Every protocol's bytes to both levels."""
    load_backbone(bench.backbone)  # what is wrong with it, or with the data, is said before minutes of work
    draws = [drawn(replace(bench, seed=f"{bench.seed}-{at}")) for at in range(DRAWS)]

    def found(draw: Draw, protocol: Protocol) -> Found:
        return Found(**forked(lambda: _costs(Case(protocol, bench.backbone, draw.train, draw.seed), draw.aside)))

    def attempted(name: str, draw: Draw, levels: Levels) -> Tries:
        bench.say(f"{name} to accuracies of {levels.floor:.3f} and {levels.target:.3f}")
        if name in ONCE:
            return {"once": found(draw, ONCE[name])}
        return _tried(MADE[name], lambda protocol: found(draw, protocol), levels.target)

    with _side_by_side() as pool:
        bench.say("LoRA in one process")
        levels = list(pool.map(lambda draw: levels_of(draw, found(draw, Local(lora=lora(FINAL)))), draws))
        asked = {
            name: [pool.submit(attempted, name, *one) for one in zip(draws, levels, strict=True)]
            for name in (*ONCE, *MADE)
        }
        tries = {name: [one.result() for one in some] for name, some in asked.items()}
    return Finding(
        name="bytes-to-accuracy",
        title="Bytes to an accuracy",
        kind="measured",
        about=(
            f"Bytes a row, both ways, to the utility floor, an accuracy of {_each(levels, 'floor')}, and to a target "
            f"of {_each(levels, 'target')}, {100 * SHARE:.0f} % of LoRA's in one process: {bench.model} on "
            f"{bench.texts}, {len(draws[0].train.victim_train)} rows, fp16, {DRAWS} draws, epochs settled by "
            f"{len(draws[0].train.victim_test)} test rows and accuracies told of {len(draws[0].aside.victim_test)} "
            f"others; side networks of {PAE.side.bottleneck} (`mobillm`: 64), LoRA of rank {lora(1).rank}, each "
            "protocol's own training; a download counts."
        ),
        headlines=(),
        rows=[_row(name, some, levels) for name, some in tries.items()],
    )


@contextmanager
def _side_by_side() -> Iterator[ThreadPoolExecutor]:
    """Threads that wait for processes; an error, or a Ctrl-C, leaves what has not begun."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def levels_of(draw: Draw, lora_ended: Found) -> Levels:
    """By what LoRA in one process ends with, and the most frequent class."""
    majority, final = most_common(draw.train), lora_ended.accuracy
    return Levels(majority + GAIN * (final - majority), SHARE * final, final)


def _each(levels: Sequence[Levels], name: str) -> str:
    return ", ".join(f"{getattr(one, name):.3f}" for one in levels)


def _costs(case: Case, aside: Parts) -> Mapping[str, float]:
    done = trained(case, lambda _message: None)
    traffic = done.wire.traffic
    sent = sum(traffic.sent_by(party) + traffic.received_by(party) for party in done.devices)
    return {
        "accuracy": accuracy(done.first, case.parts),
        "told": accuracy(done.first, aside),
        "bytes": sent / len(case.parts.victim_train),
    }


def most_common(parts: Parts) -> float:
    """The share of test rows that a guess of the most frequent class gets right."""
    labels = Counter(sample.label for sample in parts.victim_test)
    return max(labels.values()) / len(parts.victim_test)


def _tried(make: Callable[[int], Protocol], found: Callable[[Protocol], Found], target: float) -> Tries:
    """By epochs, up to the first with which the target is reached."""
    tries: dict[str, Found] = {}
    for epochs in EPOCHS:
        tries[str(epochs)] = found(make(epochs))
        if tries[str(epochs)].accuracy >= target:
            break
    return tries


def _row(name: str, tries: Sequence[Tries], levels: Sequence[Levels]) -> dict[str, Cell]:
    floors, targets = [one.floor for one in levels], [one.target for one in levels]
    return {"protocol": name, **_columns("floor", tries, floors), **_columns("target", tries, targets)}


def _columns(what: str, tries: Sequence[Tries], levels: Sequence[float]) -> dict[str, Cell]:
    """Of each draw the first try that reaches its level, or the last one, whose bytes do not count."""
    reached = [_reaching(some, level) for some, level in zip(tries, levels, strict=True)]
    there = [some[epochs] for some, epochs in zip(tries, reached, strict=True) if epochs]
    ended = [some[epochs or list(some)[-1]] for some, epochs in zip(tries, reached, strict=True)]
    return {
        f"{what} reached": f"{len(there)} of {len(tries)}",
        f"epochs to {what}": ", ".join(epochs or "-" for epochs in reached),
        f"accuracy ({what}), mean": mean(one.told for one in ended),
        f"bytes to {what}, median": median(one.bytes for one in there) if there else None,
    }


def _reaching(tries: Tries, level: float) -> str | None:
    return next((epochs for epochs, one in tries.items() if one.accuracy >= level), None)
