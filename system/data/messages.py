"""The default data set `messages`: private-looking customer messages in 24 intents, with exact spans.

A message is an opening, a frame of its intent, a sentence of its topic, a denial of a neighbouring intent and a
closing; all but the frame may be missing. The frames stand in `messages.toml`, the slot values in `slots.py`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import prod

from numpy.random import Generator

from .duplicates import folded
from .rows import Row, Span
from .slots import SLOTS, pick

VICTIM, AUXILIARY = "victim", "auxiliary"
AUXILIARY_EVERY = 3
"""Every third message of an intent is auxiliary."""

OPENING, DETAIL, DENIAL, CLOSING = 0.25, 0.4, 0.15, 0.4
"""How likely each part beside the frame is."""

ENOUGH_VARIANTS = 12
"""From this many alternatives on, a frame is not drawn more often."""

LOWER_CASE, NO_FULL_STOP = 0.2, 0.15

_CHOICE = re.compile(r"\[([^\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Pool:
    """What one pool may say: each field maps an intent (or stands alone) to its frames."""

    openings: tuple[str, ...]
    closings: tuple[str, ...]
    frames: Mapping[str, tuple[str, ...]]
    details: Mapping[str, tuple[str, ...]]
    denials: Mapping[str, tuple[str, ...]]
    """For each intent the sentences that deny one of its neighbours in the same topic."""


def intents() -> tuple[str, ...]:
    """The labels of `messages`, sorted."""
    return tuple(sorted(pool(VICTIM).frames))


@cache
def pool(side: str) -> Pool:
    """The frames of the pool `victim` or `auxiliary`."""
    book = tomllib.loads(files(__package__).joinpath("messages.toml").read_text(encoding="utf-8"))
    table, topics = book["intents"], book["topics"]
    return Pool(
        openings=tuple(book["openings"][side]),
        closings=tuple(book["closings"][side]),
        frames={intent: tuple(entry[side]) for intent, entry in table.items()},
        details={intent: tuple(topics[entry["topic"]][side]) for intent, entry in table.items()},
        denials={intent: _neighbours_denials(intent, table, side) for intent in table},
    )


def _neighbours_denials(intent: str, table: Mapping[str, Mapping[str, object]], side: str) -> tuple[str, ...]:
    topic = table[intent]["topic"]
    neighbours = [entry for name, entry in table.items() if name != intent and entry["topic"] == topic]
    return tuple(denial for entry in neighbours for denial in entry["denials"][side])  # type: ignore[index]


def generate(rows: int, generator: Generator) -> tuple[Row, ...]:
    """Draw that many messages, distinct but for case and digits, equally many of each intent, in random order.

    `pool` names the side that a row's frames belong to; `group` is the frame with its alternatives chosen and
    its slots empty, so that rows which differ in slot values only are never parted.
    """
    labels, drawn = intents(), dict[str, Row]()
    while len(drawn) < rows:
        turn, at = divmod(len(drawn), len(labels))
        side = AUXILIARY if turn % AUXILIARY_EVERY == AUXILIARY_EVERY - 1 else VICTIM
        row = message(labels[at], side, generator)
        drawn.setdefault(folded(row.text), row)
    made = list(drawn.values())
    return tuple(made[int(at)] for at in generator.permutation(rows))


def message(intent: str, side: str, generator: Generator) -> Row:
    """One message of the intent, said with the frames of one side."""
    said = pool(side)
    frame = chosen(_frame(said.frames[intent], generator), generator)
    around = _perhaps(said.details[intent], DETAIL, generator) + _perhaps(said.denials[intent], DENIAL, generator)
    middle = [*around, frame] if generator.random() < 0.3 else [frame, *around]
    opening, closing = _perhaps(said.openings, OPENING, generator), _perhaps(said.closings, CLOSING, generator)
    text, spans = filled(" ".join([*opening, *middle, *closing]), generator)
    return Row(text, intent, spans, side, f"{intent}: {frame}")


def _frame(frames: Sequence[str], generator: Generator) -> str:
    """A frame, more likely the more alternatives it has, so that no skeleton is repeated much more than others."""
    weights = [min(_variants(frame), ENOUGH_VARIANTS) for frame in frames]
    return frames[int(generator.choice(len(frames), p=[weight / sum(weights) for weight in weights]))]


@cache
def _variants(frame: str) -> int:
    return prod(choice.count("|") + 1 for choice in _CHOICE.findall(frame))


def _perhaps(frames: Sequence[str], likely: float, generator: Generator) -> list[str]:
    return [chosen(pick(frames, generator), generator)] if generator.random() < likely else []


def chosen(frame: str, generator: Generator) -> str:
    """The frame with one of each of its alternatives."""
    return _CHOICE.sub(lambda found: pick(found[1].split("|"), generator), frame)


def filled(skeleton: str, generator: Generator) -> tuple[str, tuple[Span, ...]]:
    """The text with a value in each slot, and where the values stand; the words around them vary in case."""
    lower = generator.random() < LOWER_CASE
    if generator.random() < NO_FULL_STOP:
        skeleton = skeleton.removesuffix(".")
    text, spans, literals = "", list[Span](), _SLOT.split(skeleton)
    for at, piece in enumerate(literals):
        if at % 2 == 0:
            text += piece.lower() if lower else piece
            continue
        kind, value = SLOTS[piece][0], SLOTS[piece][1](generator)
        spans.append(Span(len(text), len(text) + len(value), kind))
        text += value
    return text, tuple(spans)
