"""A view, public knowledge and true labels made by hand, for what the harness itself guesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sidelight.attacks.attack import Guess, LabelGuess
from sidelight.audits.cells.twins import Blind
from sidelight.system.backbone import Backbone
from sidelight.system.message import Message
from sidelight.system.public import Example, Public, Query
from sidelight.system.view import View

from .small import KEYWORDS, Small

LABELS = tuple(sorted(KEYWORDS))
IDS = tuple(f"{i:016x}" for i in range(12))
TRUE = torch.arange(12) % 3
OTHERS = "again before quietly near under seven again before quietly near under seven".split()
TEXTS = [f"{KEYWORDS[LABELS[i % 3]]} {word}" for i, word in enumerate(OTHERS)]
FACTS: dict[str, Any] = {
    "layers": [1, 2, 3],
    "selector": "last",
    "prompt": " about",
    "longest": 12,
    "positions": "pivot",
}


def public_of(small: Small) -> Public:
    """Auxiliary rows of all classes, mostly of the last."""
    texts = [(f"{KEYWORDS[label]} {word}", label) for label in LABELS for word in "small bright old today".split()]
    rows = [*texts, *((f"thunder {word}", "weather") for word in "maybe without north candle".split())]
    queries = tuple(Query(f"q{i}", text) for i, text in enumerate(TEXTS))
    return Public(FACTS, LABELS, str(small.backbone), None, tuple(Example(*r) for r in rows), (), queries, IDS[:4])


def pivots_of(backbone: Backbone) -> torch.Tensor:
    """(samples, layers, width): the states of TEXTS at the last token."""
    tokens = backbone.tokens(TEXTS, FACTS["longest"], FACTS["prompt"])
    last = tokens.mask.sum(1) - 1
    return backbone.activations(tokens)[torch.arange(len(TEXTS)), last]


def view_of(pivots: torch.Tensor) -> View:
    """Both kinds of PAE MobiLLM."""
    return seen(received("activations", pivots), received("difference", torch.eye(3)[TRUE] - 1 / 3))


def received(kind: str, tensor: torch.Tensor, ids: Sequence[str] = IDS) -> Message:
    return Message(kind, "device-0", "server", sample_ids=tuple(ids), tensors={kind: tensor})


def seen(*messages: Message) -> View:
    return View(frozenset({"server"}), list(messages), {}, {})


def blind(view: View, public: Public, backbone: Backbone) -> Blind:
    return Blind(view, public, backbone, public.targets)


def right(guess: Guess) -> float:
    assert isinstance(guess, LabelGuess)
    found = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
    hits = [found.get(i) == t for i, t in zip(IDS, TRUE.tolist(), strict=True)]
    return hits.count(True) / len(IDS)
