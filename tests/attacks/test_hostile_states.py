"""States that no backbone makes, and backbones that an attack does not know."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import TextGuess
from sidelight.attacks.evidence.pivots.first_attention import FirstAttention
from sidelight.system.errors import UsageError
from sidelight.system.message import Message

from ..contracts.micro import VICTIM, Micro
from ..contracts.planted import Planted, attacked, from_run, pae

SELECTORS = {"lookup": "last", "retrieve": "last", "search": "mean", "unmix": "last", "inverter": "mean"}


def spoilt(planted: Planted, sample: str, value: float) -> Planted:
    """The same, with one sample's states all of one value."""
    messages = [_with(message, sample, value) for message in planted.view.messages]
    view = replace(planted.view, messages=messages)
    targets = tuple(one.id for one in VICTIM[:3])
    return replace(planted, view=view, public=replace(planted.public, targets=targets))


def _with(message: Message, sample: str, value: float) -> Message:
    if message.kind != "activations" or sample not in message.sample_ids:
        return message
    states = message.tensors["activations"].clone()
    states[message.sample_ids.index(sample)] = value
    return replace(message, tensors={**message.tensors, "activations": states})


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 3e38])
@pytest.mark.parametrize("name", sorted(SELECTORS))
def test_a_sample_that_is_not_finite_costs_no_other_its_guess(micro: Micro, name: str, value: float) -> None:
    settings = {"steps": 1, "texts": 64, "batch": 4} if name == "inverter" else {}
    protocol = pae(selector=SELECTORS[name], prompt=" about", longest=3)
    guess = attacked(spoilt(from_run(micro, ATTACKS[name](**settings), protocol), VICTIM[0].id, value))
    assert isinstance(guess, TextGuess)
    assert {one.id for one in VICTIM[1:3]} <= set(guess.ids)
    assert not any(sure for i, sure in zip(guess.ids, guess.certified, strict=False) if i == VICTIM[0].id)


def test_attention_that_goes_its_own_way_is_refused_in_a_sentence(micro: Micro) -> None:
    first = FirstAttention(str(micro.folders["opt"]))
    first._backbone.model.set_attn_implementation("eager")
    with pytest.raises(UsageError, match="attends in a way of its own; give a backbone"):
        first.heads(torch.tensor([[3]]), torch.tensor([[0]]))
