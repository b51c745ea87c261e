"""By kind, what messages that attacks read must hold: names, types and shapes of tensors.

Shapes: N samples of a message, P positions of all of them together, L layers that crossed, d width, K classes (or as
many values as a difference has), E entries of a sparse difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

LENGTHS = "lengths"
MOST_ID = 128
"""Characters of a sample's id."""


class Form(NamedTuple):
    """A tensor's form; its first dimension counts samples, or their positions where `lengths` says how many."""

    shape: str
    """As the documentation names it."""
    dimensions: int
    whole: bool = False
    """Whether it holds whole numbers."""


STATES, CLASSES = Form("(N or P, L, d)", 3), Form("(N, K)", 2)
ONE = Form("(1,)", 1, whole=True)
INDEX = Form("(N,)", 1, whole=True)
KINDS: Mapping[str, tuple[Mapping[str, Form], ...]] = {
    "activations": ({"activations": STATES},),
    "difference": (
        {"difference": CLASSES},
        {"values": Form("(P, E)", 2), "indices": Form("(P, E)", 2, whole=True), LENGTHS: INDEX},
    ),
    "features": ({"features": Form("(N, d)", 2)},),
    "gradients": ({"gradients": CLASSES},),
    "labels": ({"labels": INDEX},),
    "packet": ({"bytes": ONE, "up": ONE},),
    "tokens": ({"tokens": Form("(P,)", 1, whole=True), LENGTHS: INDEX},),
}
"""By kind, the tensors that attacks read; any of several sets will do. Others may stand beside them."""

ALONE = frozenset({"packet"})
"""Kinds whose tensors speak of the message, and have one row however many samples it names."""
