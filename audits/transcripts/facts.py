"""Public facts that attacks and the harness read: what each may hold, and which a recording cannot do without.

Facts that are not here may be given, and nothing reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from ...attacks.extraction.readoff import BUILT
from ...system.codec import PRECISIONS
from ...system.defences import DEFENCES as OURS
from ...system.errors import UsageError
from ...system.public import BIDIRECTIONAL, CAUSAL
from ...system.selector import SELECTORS
from ...system.settings import build
from ...system.weights import WEIGHTS
from .fields import (
    FLAG,
    NAMED,
    NUMBER,
    OBJECT,
    POSITIVE,
    TEXT,
    TEXTS,
    Fields,
    Wanted,
    at_least,
    is_number,
    one_of,
)

SENT = one_of("sent", "withheld")
LAYERS = Wanted(
    "a list of block numbers from 1 up, each higher than the one before",
    lambda value: (
        isinstance(value, list)
        and bool(value)
        and all(type(one) is int and one >= 1 for one in value)
        and value == sorted(set(value))
    ),
)
DEFENCES = Wanted(
    "an object of each defence's settings by its name",
    lambda value: isinstance(value, dict) and all(isinstance(one, dict) for one in value.values()),
)
CLAIMS = Wanted(
    "an object of lists of texts by the paper's version",
    lambda value: (
        isinstance(value, dict)
        and all(isinstance(one, list) and all(isinstance(said, str) for said in one) for one in value.values())
    ),
)
LORA = Wanted(
    'an object with "full" (true or false) and "rank" (a whole number)',
    lambda value: isinstance(value, dict) and type(value.get("full")) is bool and type(value.get("rank")) is int,
)


class Fact(NamedTuple):
    """A fact's type, and what it says."""

    wanted: Wanted
    about: str


FACTS: Mapping[str, Fact] = {
    "prompt": Fact(TEXT, 'what the device puts behind every text, "" for nothing'),
    "longest": Fact(at_least(1), "tokens of a text that are used, at most"),
    "selector": Fact(one_of(*SELECTORS), "which position's states stand for a text"),
    "layers": Fact(LAYERS, "blocks whose states cross, from 1"),
    "positions": Fact(one_of("pivot", "mean", "all"), "which positions cross: the selected one, their mean, or all"),
    "precision": Fact(one_of(*PRECISIONS), "at which activations cross"),
    "activations": Fact(NAMED, '"plain", or how they were mapped: "known projection", "projected", "rotated"'),
    "first_layer": Fact(SENT, "whether the first block's states cross"),
    "last_layer": Fact(SENT, "whether the last block's states cross"),
    "attention": Fact(one_of(CAUSAL, BIDIRECTIONAL), "whether a token sees only what stands before it"),
    "weights": Fact(one_of(*WEIGHTS), "how the device holds the backbone's weights"),
    "weight_bits": Fact(at_least(0), "to which the device rounds the backbone, 0 for none"),
    "clip": Fact(NUMBER, "largest length of a layer's state, 0 for none"),
    "spread": Fact(NUMBER, "standard deviation of the noise on every activation"),
    "difference": Fact(NAMED, '"probability" or "logit"; any other name, and no attack takes it for one of them'),
    "scale": Fact(POSITIVE, "height of the label in a logit difference"),
    "difference_spread": Fact(NUMBER, "standard deviation of the noise on every value of a difference"),
    "difference_clip": Fact(NUMBER, "largest length of a difference, 0 for none"),
    "difference_key": Fact(NAMED, '"none", or that a secret lies on the difference'),
    "labels_redrawn": Fact(NUMBER, "share of labels that a coin replaces"),
    "defences": Fact(DEFENCES, "what the device does to what it sends, each with its settings"),
    "fusion": Fact(one_of(*sorted(BUILT)), "how the held item `tuned` joins the backbone"),
    "cut": Fact(at_least(0), "blocks on the device"),
    "bottom": Fact(one_of("frozen", "trainable"), "whether the device's blocks are trained"),
    "depth": Fact(at_least(1), "blocks of the device's backbone that are used"),
    "projection": Fact(TEXT, "which projection of `tuned` reads the activations"),
    "completion": Fact(NAMED, "what a language model's answer to it is: label words"),
    "question": Fact(TEXT, "what a language model is asked, so that its answer is a class"),
    "side": Fact(OBJECT, "how the side network is trained"),
    "lora": Fact(LORA, "how blocks are tuned on the device"),
    "adapter_config": Fact(OBJECT, "peft's settings of a LoRA adapter that was tuned elsewhere"),
    "classes": Fact(TEXTS, "class names by the adapter's outputs"),
    "form": Fact(TEXT, "how an adapter reads a text and its label"),
    "recipe": Fact(OBJECT, "how an adapter was tuned"),
    "rank": Fact(at_least(1), "of the device's low-rank update"),
    "every": Fact(at_least(0), "steps between two averages, 0 for a pass over the data"),
    "batch": Fact(at_least(1), "samples of a message"),
    "resent": Fact(FLAG, "whether a sample's activations cross more than once"),
    "protocol": Fact(NAMED, "what is recorded, as the report names it"),
    "title": Fact(NAMED, "the same in a line"),
    "source": Fact(NAMED, "the paper or code that it follows"),
    "paper_version": Fact(NAMED, "of that paper"),
    "claims": Fact(CLAIMS, "what the paper claims to keep from the server, by its version"),
    "departures": Fact(TEXTS, "where the recorded system differs from its paper"),
    "threat": Fact(OBJECT, "what the adversary is and knows"),
}
ASKED = ("prompt", "longest", "selector")
"""What says how a text is read by the backbone: nothing is computed with it, or compared, without."""
BY_FUSION: Mapping[str, tuple[str, ...]] = {"split": ("cut",), "ushape": ("cut",), "next token": ("question",)}


def check_facts(facts: Fields, kinds: Collection[str], readable: bool) -> None:
    """Check the facts' types, and that those are there without which attacks on these kinds cannot begin.

    `readable` says whether a backbone, or a relative of it, is public.
    """
    refuse_numbers(facts.values, facts.where)
    _check_defences(facts)
    for name, fact in FACTS.items():
        facts.get(name, fact.wanted, None)
    for name, why in _needed(facts.values, kinds, readable):
        if name not in facts.values:
            wanted = FACTS[name]
            raise UsageError(f"{facts.where} has no {name} and {why}; give {wanted.wanted.said}: {wanted.about}")


def _check_defences(facts: Fields) -> None:
    """Defences that are Sidelight's own must have all their settings: attacks and promises go by them."""
    for name, settings in facts.get("defences", DEFENCES, {}).items():
        if name not in OURS:
            continue
        where = f"{facts.where}: defences: {name}"
        build(OURS[name], settings, where)
        if absent := [one.name for one in fields(OURS[name]) if one.name not in settings]:
            raise UsageError(
                f"{where} is a defence of Sidelight's and has no {absent[0]}; give all its settings, or another name"
            )


def _needed(facts: Mapping[str, Any], kinds: Collection[str], readable: bool) -> list[tuple[str, str]]:
    """Names of facts, and why each is needed."""
    needed = [(name, "there is a backbone to read texts with") for name in ASKED if readable]
    if readable and "activations" in kinds:
        needed.append(("layers", "activations cross"))
    if "difference" in kinds:
        needed.append(("difference", "a difference crosses"))
    if facts.get("difference") == "logit":
        needed.append(("scale", "the difference is of logits"))
    if readable and "held:tuned" in kinds:
        needed.append(("fusion", "the adversary holds `tuned`"))
        needed += [(name, "the fusion needs it") for name in BY_FUSION.get(facts.get("fusion", ""), ())]
    if readable and "held:start" in kinds and "update" in kinds:
        needed.append(("lora", "updates cross"))
    return needed


def refuse_numbers(value: Any, where: str) -> None:
    """Refuse numbers that are not finite, however deep: they cannot be stored again."""
    if isinstance(value, dict):
        for name, one in value.items():
            refuse_numbers(one, f"{where}: {name}")
    elif isinstance(value, list):
        for one in value:
            refuse_numbers(one, where)
    elif isinstance(value, float) and not is_number(value):
        raise UsageError(f"{where} holds a number that is not finite; give a finite one")
