"""Bayes' rule against its own enumeration, and against the parts that it joins."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess
from sidelight.attacks.evidence.labels.candidates import Candidates
from sidelight.attacks.evidence.labels.mixture import Mixture
from sidelight.attacks.evidence.labels.weighing import distances, likelihoods, responses, shares
from sidelight.system.public import Public

from ..contracts.leaks_transformed import Disguise, behind, rotated, scaled
from ..contracts.micro import LABELS, Micro
from ..contracts.planted import Planted, attacked, from_run, pae

CLASSES = 5


def candidates(rows: int, generator: torch.Generator) -> Candidates:
    shares = torch.rand(rows, CLASSES, generator=generator, dtype=torch.float64)
    return Candidates(torch.eye(CLASSES, dtype=torch.float64), torch.arange(CLASSES), shares)


def test_randomised_response_keeps_a_label_as_often_as_its_formula_says() -> None:
    found = responses(Public({"defences": {"label-dp": {"epsilon": log(6)}}}, tuple("abcdefg")))
    assert found.diagonal().tolist() == pytest.approx([0.5] * 7)
    assert found.sum(1).tolist() == pytest.approx([1.0] * 7)


def test_distances_are_those_to_every_candidate() -> None:
    generator = torch.Generator().manual_seed(0)
    held = candidates(30, generator)
    values = torch.randn(30, CLASSES, generator=generator, dtype=torch.float64)
    expected = ((values + held.shares).unsqueeze(1) - torch.eye(CLASSES)).square().sum(2)
    torch.testing.assert_close(distances(values, held), expected)


@pytest.mark.parametrize("deviation", [0.2, 0.5, 1.0])
def test_the_fitted_likelihoods_are_those_of_the_noise_that_was_drawn(deviation: float) -> None:
    generator = torch.Generator().manual_seed(1)
    held = candidates(4000, generator)
    labels = torch.randint(CLASSES, (4000,), generator=generator)
    noise = deviation * torch.randn(4000, CLASSES, generator=generator, dtype=torch.float64)
    values = torch.eye(CLASSES, dtype=torch.float64)[labels] - held.shares + noise
    squares = distances(values, held)
    uniform = torch.full((4000, CLASSES), 1 / CLASSES, dtype=torch.float64)
    found = likelihoods(squares, held.owners, CLASSES, uniform)
    true = torch.exp(-squares / (2 * deviation**2))
    assert (found / found.sum(1, keepdim=True) - true / true.sum(1, keepdim=True)).abs().mean() < 0.01


def share(planted: Planted) -> float:
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    found = zip(guess.ids, guess.labels.tolist(), strict=True)
    return [planted.truth.labels[i] == label for i, label in found].count(True) / len(planted.truth.labels)


def drowned(difference: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return difference + 100 * torch.randn(difference.shape, generator=generator)


def test_activations_settle_what_noise_leaves_open(micro: Micro) -> None:
    """Noise drowns the difference, and auxiliary texts still tell the class; without them a class name is no help."""
    planted = behind(from_run(micro, ATTACKS["posterior"](), pae()), drowned)
    assert share(planted) >= 0.85
    nameless = replace(planted.public, auxiliary=(), labels=tuple("abcdefghijkl"[: len(LABELS)]))
    assert share(replace(planted, public=nameless)) <= 0.5


@pytest.mark.parametrize(
    ("disguise", "defences"),
    [(rotated, {"rotate": {"per_sample": False}}), (scaled, {"scale": {"per_sample": True}})],
    ids=["rotated", "stretched"],
)
def test_behind_a_secret_form_it_starts_from_what_regression_finds(
    micro: Micro, disguise: Disguise, defences: dict[str, dict[str, bool]]
) -> None:
    planted = behind(from_run(micro, ATTACKS["posterior"](), pae()), disguise)
    secret = replace(planted.public, facts={**planted.public.facts, "defences": defences})
    assert share(replace(planted, public=secret)) >= 0.95


def test_groups_that_noise_made_are_not_believed_over_activations(micro: Micro) -> None:
    """Behind a secret rotation and noise `regress` finds nothing, and the texts' own classes stand."""
    planted = behind(from_run(micro, ATTACKS["posterior"](), pae()), drowned)
    facts = {**planted.public.facts, "defences": {"rotate": {"per_sample": False}}}
    secret = replace(planted, public=replace(planted.public, facts=facts))
    assert share(replace(secret, attack=ATTACKS["regress"]())) <= 0.5
    assert share(secret) == share(planted) >= 0.85


def test_the_shares_of_groups_are_those_of_the_noise_that_was_drawn() -> None:
    generator = torch.Generator().manual_seed(2)
    centres = 2 * torch.eye(CLASSES)
    groups = torch.randint(CLASSES, (4000,), generator=generator)
    residuals = centres[groups] + torch.randn(4000, CLASSES, generator=generator)
    nearest = torch.cdist(residuals, centres).argmin(1)
    names = torch.tensor([3, 1, 4, 0, 2])
    uniform = torch.full((4000, CLASSES), 1 / CLASSES, dtype=torch.float64)
    found = shares(Mixture(nearest, torch.zeros(0, CLASSES), centres, residuals, 0.0), names[nearest], uniform)
    true = (-torch.cdist(residuals, centres).square() / 2).softmax(1).double()
    assert (found[:, names] - true).abs().mean() < 0.01


def test_two_weak_witnesses_are_stronger_together() -> None:
    """Prior and noisy difference, each right about half the time: Bayes' rule by hand is right more often."""
    generator = torch.Generator().manual_seed(3)
    held = candidates(4000, generator)
    labels = torch.randint(CLASSES, (4000,), generator=generator)
    noise = 0.7 * torch.randn(4000, CLASSES, generator=generator, dtype=torch.float64)
    squares = distances(torch.eye(CLASSES, dtype=torch.float64)[labels] - held.shares + noise, held)
    hint = torch.where(
        torch.rand(4000, generator=generator) < 0.5, labels, torch.randint(CLASSES, (4000,), generator=generator)
    )
    prior = torch.full((4000, CLASSES), 0.1, dtype=torch.float64).scatter_(1, hint.unsqueeze(1), 0.6)
    joined = (prior * likelihoods(squares, held.owners, CLASSES, prior)).argmax(1)
    by_hand = (prior.log() - squares / (2 * 0.7**2)).argmax(1)
    assert (joined == by_hand).double().mean() >= 0.98
    right = [(one == labels).double().mean() for one in (joined, hint, squares.argmin(1))]
    assert right[0] >= max(right[1:]) + 0.1
