"""Labels behind secret rotations, orders and scales in a recorded run, and on differences that fit no candidate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import LabelGuess
from sidelight.attacks.labels.norm import Norm

from ..contracts import leaks_transformed as secret
from ..contracts.leaks_transformed import Disguise, behind
from ..contracts.micro import LABELS, Micro
from ..contracts.planted import Planted, attacked, from_run, pae

HEIGHT = 5.0
Runs = Callable[[str, str, str], Planted]
"""By attack, kind of difference and head: a run whose differences crossed as they are."""


@pytest.fixture(scope="module")
def runs(micro: Micro) -> Runs:
    @cache
    def recorded(kind: str, head: str) -> Planted:
        return from_run(micro, ATTACKS["norm"](), pae(difference=kind, head=head))

    return lambda name, kind, head: replace(recorded(kind, head), attack=ATTACKS[name]())


def share(planted: Planted) -> float:
    """Labels found, of all that crossed."""
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    right = [planted.truth.labels[i] == label for i, label in zip(guess.ids, guess.labels.tolist(), strict=True)]
    return right.count(True) / len(planted.truth.labels)


@pytest.mark.parametrize("kind", ["probability", "logit"])
@pytest.mark.parametrize("head", ["verbaliser", "linear"])
@pytest.mark.parametrize(
    ("name", "disguise"),
    [
        ("norm", secret.turned_anew),
        ("norm", secret.shuffled),
        ("align", secret.rotated),
        ("align", secret.permuted),
        ("gram", secret.scaled_and_rotated),
        ("ratio", secret.scaled_and_shuffled),
    ],
)
def test_an_attack_finds_every_label_in_a_run(runs: Runs, kind: str, head: str, name: str, disguise: Disguise) -> None:
    assert share(behind(runs(name, kind, head), disguise)) >= 0.97


def test_the_error_of_the_attackers_output_lowers_what_norm_finds(runs: Runs) -> None:
    planted = behind(runs("norm", "probability", "verbaliser"), secret.turned_anew)
    found = [share(replace(planted, attack=Norm(error=error))) for error in (0.0, 0.1, 10.0)]
    assert found[0] > found[1] > found[2]


every = pytest.mark.parametrize("name", ["align", "gram", "norm", "ratio"])


@every
@pytest.mark.parametrize("width", [4, 6, 9])
def test_differences_of_another_width_than_the_classes_give_a_guess(runs: Runs, name: str, width: int) -> None:
    planted = behind(runs(name, "probability", "verbaliser"), lambda x, _: torch.cat([x, x.flip(1)], 1)[:, :width])
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    assert set(guess.ids) == set(planted.truth.labels)


@every
def test_values_that_are_no_numbers_and_empty_differences_give_a_guess(runs: Runs, name: str) -> None:
    for value in (float("nan"), float("inf"), 0.0):
        filled = torch.full((len(LABELS),), value)
        guess = attacked(behind(runs(name, "probability", "verbaliser"), lambda x, _: filled.expand_as(x)))  # noqa: B023 - called at once
        assert isinstance(guess, LabelGuess)
        assert guess.labels.dtype == torch.int64


@every
def test_no_sample_with_both_kinds_gives_no_guess(runs: Runs, name: str) -> None:
    planted = runs(name, "probability", "verbaliser")
    first, *_ = planted.view.of("activations")
    _, *later = planted.view.of("difference")
    apart = [first, *later]
    guess = attacked(replace(planted, view=replace(planted.view, messages=apart)))
    assert isinstance(guess, LabelGuess)
    assert guess.ids == ()


def test_codewords_that_a_control_reveals_are_matched_one_by_one(runs: Runs) -> None:
    """Two codewords a class, wider than the classes; the head's share is nothing here."""
    planted = runs("align", "logit", "verbaliser")
    book = torch.randn(6, 2, 8, generator=torch.Generator().manual_seed(0))
    drawn = torch.Generator().manual_seed(1)
    messages = list(planted.view.of("activations"))
    for message in planted.view.of("difference"):
        classes = torch.tensor([planted.truth.labels[i] for i in message.sample_ids])
        word = torch.randint(2, (len(classes),), generator=drawn)
        messages.append(replace(message, tensors={"difference": HEIGHT * book[classes, word]}))
    assert planted.public.head is not None
    nothing = {"weight": torch.zeros(8, planted.public.head["weight"].shape[1])}
    public = replace(planted.public, head=nothing, keys={"book": book})
    for name in ("align", "norm", "ratio"):
        shown = replace(planted, view=replace(planted.view, messages=messages), public=public, attack=ATTACKS[name]())
        assert share(shown) == 1.0
