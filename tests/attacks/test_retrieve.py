"""Retrieval from a pool: as good as Bayes where the text is in it, through every mechanism that is public."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import TextGuess
from sidelight.attacks.reconstruction.retrieve import likeliest, pool_of
from sidelight.system.defences import Defence
from sidelight.system.defences.activation_noise import ActivationNoise
from sidelight.system.defences.layers import Layers
from sidelight.system.defences.project import Project
from sidelight.system.defences.quantise import Quantise
from sidelight.system.defences.rotate_activations import RotateActivations
from sidelight.system.defences.round_backbone import RoundBackbone
from sidelight.system.message import Message
from sidelight.system.public import Example, Public
from sidelight.system.roles import DEVICE, SERVER
from sidelight.system.view import View

from ..contracts.leaks_texts import pooled
from ..contracts.micro import LABELS, VICTIM, Micro, samples
from ..contracts.planted import Planted, attacked, from_run, mobillm, pae

OTHERS = tuple(row.text for row in samples(76, seed=9))
"""456 texts, of which a few may be the victim's too: a text stands in a pool once."""


def right(planted: Planted) -> float:
    """Share of the victim's texts that were found whole."""
    guess = attacked(planted)
    assert isinstance(guess, TextGuess)
    found = dict(zip(guess.ids, guess.tokens, strict=True))
    return sum(found[i] == tokens for i, tokens in planted.truth.tokens.items()) / len(planted.truth.tokens)


def among_500(planted: Planted) -> Planted:
    public = replace(planted.public, candidates=(*OTHERS, *(row.text for row in VICTIM)))
    assert 480 <= len(pool_of(public)) <= 560
    return replace(planted, attack=ATTACKS["retrieve"](), public=public)


@pytest.mark.parametrize(
    "defences",
    [
        (),
        (ActivationNoise(ratio=0.05),),
        (ActivationNoise(ratio=0.03), Quantise(bits=4)),
        (Quantise(bits=2),),
        (Layers(count=1, which="last"),),
        (RotateActivations(revealed=True),),
        (Project(width=12, revealed=True),),
        (RoundBackbone(bits=3),),
    ],
    ids=lambda defences: " and ".join(one.name for one in defences) or "plain",
)
def test_a_text_among_500_is_found_through_what_is_public_of_a_defence(
    micro: Micro, defences: tuple[Defence, ...]
) -> None:
    assert right(among_500(pooled(micro, *defences))) >= 0.97


@pytest.mark.parametrize("selector", ["last", "mean"])
def test_pivots_of_every_selector_are_compared(micro: Micro, selector: str) -> None:
    assert right(among_500(from_run(micro, ATTACKS["retrieve"](), pae(selector=selector)))) >= 0.97


def test_all_positions_are_compared_by_their_mean_and_the_last(micro: Micro) -> None:
    assert right(among_500(from_run(micro, ATTACKS["retrieve"](), mobillm()))) >= 0.97


def test_noise_far_above_what_texts_differ_by_leaves_chance(micro: Micro) -> None:
    # of 48 texts among 500 more than five are found by luck less than once in a million times
    assert right(among_500(pooled(micro, ActivationNoise(ratio=100.0)))) <= 5 / 48


def noised(micro: Micro, texts: Sequence[str], ratio: float, count: int) -> tuple[Planted, float]:
    """So many samples of the first of two texts, and how far apart the two are in units of the noise."""
    backbone = micro.backbone("opt")
    rows = [backbone.activations(backbone.tokens([text], 9, " about"))[0, -1] for text in texts]
    one, other = (row / row.norm(dim=1, keepdim=True) for row in rows)  # a clip of 1 below every length
    generator = torch.Generator().manual_seed(4)
    states = one + ratio * torch.randn(count, *one.shape, generator=generator)
    ids = tuple(f"{i:016x}" for i in range(count))
    sent = Message("activations", DEVICE, SERVER, sample_ids=ids, tensors={"activations": states})
    facts: dict[str, Any] = {"selector": "last", "prompt": " about", "longest": 9, "layers": [1, 2, 3]}
    facts |= {"positions": "pivot", "activations": "plain", "precision": "fp32", "clip": 1.0, "spread": ratio}
    public = Public(facts, LABELS, str(micro.folders["opt"]), candidates=tuple(texts))
    truth = dict.fromkeys(ids, tuple(backbone.token_ids(texts[0])))
    planted = from_run(micro, ATTACKS["retrieve"](), pae())
    view = View(frozenset({SERVER}), [sent], {}, {})
    planted = replace(planted, view=view, public=public, truth=replace(planted.truth, tokens=truth))
    return planted, float((one - other).norm()) / ratio


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0])
def test_of_two_texts_the_right_one_is_found_as_often_as_bayes_rule_finds_it(micro: Micro, ratio: float) -> None:
    """Two Gaussians a distance d of standard deviations apart are told apart with probability Phi(d / 2)."""
    count = 2000
    planted, apart = noised(micro, ("tulip again before", "tulip again near"), ratio, count)
    wanted = NormalDist().cdf(apart / 2)
    assert right(planted) == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / count) ** 0.5 + 1e-3)


def test_a_text_beside_the_pool_goes_to_the_one_that_differs_as_near_texts_do() -> None:
    pool = torch.tensor([[0.0, 0.0], [30.0, 6.0]])
    near = torch.tensor([400.0, 0.01])
    # five errors away from the first text in a direction that near texts share, thirty in one in which they differ
    found = torch.tensor([[30.0, 0.5], [30.0, 5.5], [0.3, -0.2]])
    assert likeliest(found, pool, near).tolist() == [0, 1, 0]
    assert likeliest(found, pool, torch.zeros(2)).tolist() == [1, 1, 0]


def test_a_text_stands_in_the_pool_once() -> None:
    public = Public({}, LABELS, auxiliary=(Example("a", LABELS[0]), Example("b", LABELS[0])), candidates=("b", "c"))
    assert pool_of(public) == ["a", "b", "c"]


def test_without_a_pool_nothing_is_guessed(micro: Micro) -> None:
    planted = pooled(micro)
    guess = attacked(replace(planted, public=replace(planted.public, auxiliary=(), candidates=())))
    assert guess == TextGuess((), ())
