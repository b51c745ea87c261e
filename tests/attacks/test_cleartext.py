"""Tokens that cross in clear."""

from __future__ import annotations

import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import TextGuess
from sidelight.system.message import Message
from sidelight.system.public import Public
from sidelight.system.view import View

A, B = "a" * 16, "b" * 16


def sent(ids: tuple[str, ...], tokens: list[int], lengths: list[int], kind: str = "tokens") -> Message:
    tensors = {"tokens": torch.tensor(tokens), "lengths": torch.tensor(lengths)}
    return Message(kind, "device-0", "server", sample_ids=ids, tensors=tensors)


def test_tokens_are_parted_by_their_lengths_and_the_first_sighting_counts() -> None:
    messages = [sent((A, B), [5, 6, 7], [1, 2]), sent((A,), [8, 9], [2]), sent((B,), [1], [1], kind="other")]
    view = View(frozenset({"server"}), messages, {}, {})
    guess = ATTACKS["cleartext"]().run(view, Public({}, ()), {}, torch.Generator())
    assert guess == TextGuess((A, B), ((5,), (6, 7)))
