"""Length and last token, read off a pivot's state."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import TextGuess
from sidelight.system.defences import Defence
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.quantise import Quantise

from ..contracts.micro import Micro
from ..contracts.planted import attacked, from_run, pae

LONGEST = 6
Pairs = list[tuple[tuple[int, ...], tuple[int, ...]]]


def looked_up(micro: Micro, *defences: Defence, **settings: Any) -> Pairs:
    """Texts of the victim, each beside its guess."""
    given = {"selector": "last", "prompt": "", "longest": LONGEST, **settings}
    planted = from_run(micro, ATTACKS["lookup"](), pae(defences=defences, **given))
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    return [(planted.truth.tokens[i], found) for i, found in zip(guess.ids, guess.tokens, strict=True)]


def share_of_lengths(pairs: Pairs) -> float:
    return sum(len(text) == len(found) for text, found in pairs) / len(pairs)


@pytest.mark.parametrize(
    "defences",
    [(), (ActivationNoise(ratio=0.01),), (Layers(count=1, which="last"),), (Quantise(bits=8),)],
    ids=["plain", "noised", "one-layer", "quantised"],
)
def test_lengths_are_read_behind_a_prompt_whatever_is_public_of_how_states_cross(
    micro: Micro, defences: tuple[Defence, ...]
) -> None:
    pairs = looked_up(micro, *defences, prompt=" about")
    commonest = max(sum(len(text) == n for text, _ in pairs) for n in range(1, LONGEST + 1)) / len(pairs)
    assert share_of_lengths(pairs) >= max(0.8, commonest)


def test_behind_a_prompt_texts_differ_in_their_lengths_alone(micro: Micro) -> None:
    longest = max((found for _, found in looked_up(micro, prompt=" about")), key=len)
    assert all(found == longest[: len(found)] for _, found in looked_up(micro, prompt=" about"))


def test_without_a_prompt_the_last_token_is_named_far_more_often_than_by_the_commonest(micro: Micro) -> None:
    pairs = looked_up(micro)
    right = [text[-1] == found[-1] for text, found in pairs]
    commonest = max(sum(text[-1] == other[-1] for text, _ in pairs) for other, _ in pairs)
    assert sum(right) > 2 * commonest


def test_the_mean_of_all_positions_has_no_token_of_its_own(micro: Micro) -> None:
    pairs = looked_up(micro, selector="mean")
    longest = max((found for _, found in pairs), key=len)
    assert all(found == longest[: len(found)] for _, found in pairs)
