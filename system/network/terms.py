"""What was agreed on, as it crosses, and checked as it arrives: a hostile device must not make a server large."""

from __future__ import annotations

import math
import re

from ..defences.defence import Budget, PrivateSteps
from ..errors import UsageError
from ..protocols.agreed import Agreed, SideAgreed, SplitAgreed
from ..protocols.side_training import SideTraining
from ..selector import SELECTORS
from ..side_network import SideShape
from . import network_pb2 as schema
from .access import NAME
from .runs import Place

MOST_WEIGHTS = 1 << 26
"""Of a side network: 256 MiB, of which training holds four."""
MOST_STEP = 1 << 28
"""Values that one training step takes: activations of a batch, or gradients of single samples (1 GiB)."""
MOST_EPOCHS, MOST_BATCH, MOST_LAYERS = 10_000, 65_536, 1_024
MOST_POSITIONS = 1 << 16
MOST_CLASSES, LONGEST_SETTINGS, LONGEST_CLASS = 65_536, 65_536, 1_000
SEED = re.compile(r"[0-9a-f]{1,64}\Z")


def written(agreed: Agreed, place: Place | None = None) -> schema.Terms:
    """As it crosses."""
    run, party = place or ("", "")
    terms = schema.Terms(protocol=agreed.protocol, seed=agreed.seed, run=run, party=party)
    if agreed.side is not None:
        terms.side.CopyFrom(_side(agreed.side))
    if agreed.split is not None:
        split = agreed.split
        terms.split.CopyFrom(schema.SplitTerms(backbone=split.backbone, classes=split.classes, settings=split.settings))
    return terms


def _side(side: SideAgreed) -> schema.SideTerms:
    shape, training, steps = side.shape, side.training, side.private
    terms = schema.SideTerms(
        layers=shape.layers,
        width=shape.width,
        bottleneck=shape.bottleneck,
        outputs=shape.outputs,
        epochs=training.epochs,
        batch=training.batch,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        selector=side.selector,
        positions=side.positions,
        entries=side.entries,
    )
    if steps is not None:
        terms.private.CopyFrom(
            schema.PrivateTerms(
                rate=steps.rate,
                expected=steps.expected,
                an_epoch=steps.an_epoch,
                clip=steps.clip,
                ratio=steps.ratio,
                epsilon=steps.promised.epsilon,
                delta=steps.promised.delta,
            )
        )
    return terms


def read(terms: schema.Terms) -> Agreed:
    """What a device asks for; raises UsageError where it is none, or more than a server gives."""
    if not SEED.match(terms.seed):
        raise UsageError("the seed of the terms is not 1 to 64 hexadecimal digits; give such a seed")
    if terms.HasField("side") == terms.HasField("split"):
        raise UsageError("the terms hold neither or both of side and split; give the one that the protocol needs")
    side = _read_side(terms.side) if terms.HasField("side") else None
    split = _read_split(terms.split) if terms.HasField("split") else None
    return Agreed(terms.protocol, terms.seed, side, split)


def place(terms: schema.Terms) -> Place | None:
    """Where a device wants to be in a run of several; None where it wants one of its own. Raises UsageError."""
    if not terms.run and not terms.party:
        return None
    if not NAME.match(terms.run) or not NAME.match(terms.party):
        raise UsageError("run or party of the terms is no name of 1 to 64 small letters, digits and hyphens; give both")
    return Place(terms.run, terms.party)


def _read_side(terms: schema.SideTerms) -> SideAgreed:
    shape = SideShape(terms.layers, terms.width, terms.bottleneck, terms.outputs)
    weights = shape.width * (2 * shape.layers * shape.bottleneck + shape.outputs)
    if not min(shape.layers, shape.width, shape.bottleneck, shape.outputs) >= 1 or weights > MOST_WEIGHTS:
        raise UsageError(f"the side network has a size below 1 or more than {MOST_WEIGHTS} weights; ask for less")
    _within("layers", shape.layers, MOST_LAYERS)
    _within("epochs", terms.epochs, MOST_EPOCHS)
    if terms.batch * shape.layers * shape.width > MOST_STEP:
        raise UsageError(f"a batch of the terms has more than {MOST_STEP} values; ask for a smaller one")
    _within("batch", terms.batch, MOST_BATCH)
    for name, value in (("learning_rate", terms.learning_rate), ("weight_decay", terms.weight_decay)):
        if not (math.isfinite(value) and 0 <= value <= 1e3):
            raise UsageError(f"{name} of the terms is no number from 0 to 1000; give one")
    if terms.selector not in SELECTORS:
        raise UsageError(f"the selector of the terms is none of {', '.join(SELECTORS)}; give one of them")
    training = SideTraining(shape.bottleneck, terms.epochs, terms.batch, terms.learning_rate, terms.weight_decay)
    private = _read_private(terms) if terms.HasField("private") else None
    for name, value, most in (
        ("positions", terms.positions, MOST_POSITIONS),
        ("entries", terms.entries, shape.outputs),
    ):
        if value > most:
            raise UsageError(f"{name} of the terms is {value}; give at most {most}")
    return SideAgreed(shape, training, private, terms.selector, terms.positions, terms.entries)


def _read_private(terms: schema.SideTerms) -> PrivateSteps:
    asked = terms.private
    weights = terms.width * (2 * terms.layers * terms.bottleneck + terms.outputs)
    if asked.expected * weights > MOST_STEP:
        raise UsageError(f"a private step holds more than {MOST_STEP} gradients of single samples; ask for less")
    promised = Budget(asked.epsilon, asked.delta, "example")
    sound = (
        0 < asked.rate <= 1
        and 0 < asked.expected <= MOST_BATCH
        and 1 <= asked.an_epoch <= MOST_BATCH
        and 0 < asked.clip < math.inf
        and 0 <= asked.ratio < math.inf
    )
    if not sound:
        raise UsageError("the private steps of the terms are no rate, clip and noise; give those of the defence")
    return PrivateSteps(asked.rate, asked.expected, asked.an_epoch, terms.epochs, asked.clip, asked.ratio, promised)


def _read_split(terms: schema.SplitTerms) -> SplitAgreed:
    _within("classes", len(terms.classes), MOST_CLASSES)
    if len(terms.settings) > LONGEST_SETTINGS or any(len(name) > LONGEST_CLASS for name in terms.classes):
        raise UsageError(f"settings or a class's name of the terms are longer than {LONGEST_SETTINGS} characters")
    return SplitAgreed(terms.backbone, tuple(terms.classes), terms.settings)


def _within(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise UsageError(f"{name} of the terms is {value}; give 1 to {most}")
