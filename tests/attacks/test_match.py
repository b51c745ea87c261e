"""Exact reconstruction on the micro backbones: complete where the backbone is frozen, certified only where right."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import TextGuess
from sidelight.attacks.reconstruction.match import Match
from sidelight.system.protocols import Protocol

from ..contracts.micro import VICTIM, Micro, Run, make_scene, record
from ..contracts.planted import Planted, attacked, from_run, mobillm, planted_in, split

FIRST_MESSAGE = 12
"""Samples in a message: what crosses before a trainable bottom has moved."""


class Found(NamedTuple):
    """How a text guess compares with the truth, a text each, in order of arrival."""

    exact: list[bool]
    certified: list[bool]
    tokens: float
    """Share of the truth's tokens found at their place."""


def found(planted: Planted) -> Found:
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    truth = [planted.truth.tokens[i] for i in guess.ids]
    right = sum(a == b for text, goal in zip(guess.tokens, truth, strict=True) for a, b in zip(text, goal, strict=True))
    exact = [text == goal for text, goal in zip(guess.tokens, truth, strict=True)]
    return Found(exact, list(guess.certified), right / sum(map(len, truth)))


def no_wrong_certificate(outcome: Found) -> bool:
    return not any(sure and not right for sure, right in zip(outcome.certified, outcome.exact, strict=True))


@pytest.mark.parametrize("family", ["opt", "llama"])
@pytest.mark.parametrize("protocol", [mobillm(), split(cut=1)], ids=["mobillm", "split"])
def test_every_text_is_found_exactly_and_certified_at_full_precision(
    micro: Micro, family: str, protocol: Protocol
) -> None:
    outcome = found(from_run(micro, Match(), protocol, family))
    assert len(outcome.exact) == len(VICTIM)
    assert all(outcome.exact)
    assert all(outcome.certified)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_a_lossy_codec_hides_no_token_of_a_micro_backbone_and_prevents_no_certificate(
    micro: Micro, precision: str
) -> None:
    for protocol in (mobillm(precision=precision), split(cut=2, precision=precision)):
        outcome = found(from_run(micro, Match(), protocol))
        assert all(outcome.exact)
        assert all(outcome.certified)


@pytest.fixture(scope="module")
def trainable(micro: Micro) -> Run:
    # slow enough that the first pass is still read for the most part, and the second visibly less
    return record(split(cut=2, bottom="trainable", learning_rate=1e-2), make_scene(micro.backbone("opt")))


def test_a_trainable_bottom_is_exact_before_its_first_step_and_uncertified_after(micro: Micro, trainable: Run) -> None:
    """Texts arrive in order of their training step; the updates start at zero."""
    outcome = found(planted_in(trainable, micro, Match(round=0)))
    assert all(outcome.exact[:FIRST_MESSAGE])
    assert all(outcome.certified[:FIRST_MESSAGE])
    assert not all(outcome.exact[FIRST_MESSAGE:])
    assert not any(outcome.certified[FIRST_MESSAGE:])


def test_a_later_round_of_a_trainable_bottom_is_matched_worse(micro: Micro, trainable: Run) -> None:
    first = found(planted_in(trainable, micro, Match(round=0)))
    second = found(planted_in(trainable, micro, Match(round=1)))
    assert len(second.exact) == len(VICTIM)
    assert second.tokens < first.tokens - 0.2
    assert no_wrong_certificate(second)


def test_a_later_round_of_a_frozen_bottom_is_matched_as_well(micro: Micro) -> None:
    assert all(found(from_run(micro, Match(round=1), split())).exact)


def test_a_round_that_never_crossed_gives_an_empty_guess(micro: Micro) -> None:
    assert attacked(from_run(micro, Match(round=99), split())) == TextGuess((), (), ())


def test_few_candidates_at_first_change_nothing_but_the_time(micro: Micro) -> None:
    planted = from_run(micro, Match(), mobillm())
    few = replace(planted, attack=Match(candidates=2))
    assert attacked(few) == attacked(planted)


def test_a_narrow_search_certifies_no_token_that_it_did_not_reach(micro: Micro) -> None:
    outcome = found(from_run(micro, Match(candidates=2, widest=2), mobillm()))
    assert not all(outcome.exact)
    assert no_wrong_certificate(outcome)


def test_only_the_asked_samples_are_guessed(micro: Micro) -> None:
    planted = from_run(micro, Match(), mobillm())
    asked = tuple(sorted(sample.id for sample in VICTIM)[:5])
    guess = attacked(replace(planted, public=replace(planted.public, targets=asked)))
    assert isinstance(guess, TextGuess)
    assert set(guess.ids) == set(asked)


@pytest.mark.parametrize(
    "settings", [{"prompt": ""}, {"longest": 3}, {"prompt": " asked about:", "longest": 4}], ids=str
)
def test_prompt_and_cut_are_left_out_of_the_guess(micro: Micro, settings: dict[str, object]) -> None:
    for family in ("opt", "llama"):
        outcome = found(from_run(micro, ATTACKS["match"](), mobillm(**settings), family))
        assert all(outcome.exact)
