"""Labels by mixtures of regressions, by clusters and from a few known labels: what is recovered, and what breaks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import layer_norm

from sidelight.attacks.attack import LabelGuess
from sidelight.attacks.evidence.labels.grouping import grouped
from sidelight.attacks.evidence.labels.mixture import fit
from sidelight.system.errors import UsageError
from sidelight.system.public import Known, Public
from sidelight.system.roles import SERVER
from sidelight.system.view import View

from ..contracts.leaks_grouped import codes, defence, secret_head
from ..contracts.leaks_grouped import grouped as recorded
from ..contracts.micro import Micro
from ..contracts.planted import Planted, attacked
from .grouped_rows import WIDTH, Made, attack, drawn, guessed, matched, share, side

# --- regress --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("follow", [0.0, 1.0])
@pytest.mark.parametrize(("classes", "rows"), [(2, 400), (4, 400), (20, 600), (77, 1500), (150, 1800)])
def test_regress_names_every_row_behind_a_secret_head(classes: int, rows: int, follow: float) -> None:
    """The slope is unknown, the labels follow the features or do not; nothing but the class names is known."""
    made = Made(classes, rows, follow=follow)
    assert share(guessed("regress", made).labels, made.labels) == 1.0


@pytest.mark.parametrize(("width", "words"), [(8, 1), (32, 1), (128, 1), (32, 3)])
def test_regress_parts_every_codeword_whatever_the_width(width: int, words: int) -> None:
    made = Made(20, 900, width, words)
    mixture = fit(made.difference, layer_norm(made.pivots, (WIDTH,)), 20 * words, drawn())
    assert matched(mixture.groups, made.labels * words + made.words) >= 0.99


def test_regress_finds_the_groups_that_noise_leaves_apart() -> None:
    """Codewords 5 sqrt(2) apart, noise of 0.5 a value: a nearest-codeword decoder with the key errs in e^-25 or so."""
    made = Made(20, 900, noise=0.5)
    assert share(guessed("regress", made).labels, made.labels) >= 0.99


def test_a_secret_factor_for_each_sample_does_not_hide_the_groups() -> None:
    """Factors between a quarter and four, as the defence draws them."""
    made = Made(20, 900)
    made.difference *= 4 ** (2 * torch.rand(900, 1, generator=drawn(12)) - 1)
    scaled = replace(made.public, facts={**made.public.facts, "defences": {"scale": {"per_sample": True}}})
    assert share(guessed("regress", made).labels, made.labels) < 0.7
    assert share(guessed("regress", made, scaled).labels, made.labels) == 1.0


def test_regress_names_classes_where_some_have_no_row() -> None:
    made = Made(8)
    for absent in (0, 5):
        made.difference[made.labels == absent] += made.book[7, 0] - made.book[absent, 0]
        made.labels[made.labels == absent] = 7
    assert share(guessed("regress", made).labels, made.labels) == 1.0


def test_regress_uses_known_labels_to_name_codes() -> None:
    made = Made(20, 900, 24, words=2)
    blind, told = guessed("regress", made), guessed("regress", made, made.known(8))
    assert share(blind.labels, made.labels) < 0.5
    assert share(told.labels, made.labels) >= 0.99


def test_regress_does_not_go_by_entries_where_a_permutation_hides_them() -> None:
    made = Made(12)
    made.difference = made.difference[:, torch.arange(12).roll(1)]
    hidden = replace(made.public, facts={**made.public.facts, "defences": {"permute": {}, "secret-head": {}}})
    assert share(guessed("regress", made).labels, made.labels) == 0.0
    assert share(guessed("regress", made, hidden).labels, made.labels) < 0.5
    told = replace(hidden, known=made.known(2).known)
    assert share(guessed("regress", made, told).labels, made.labels) == 1.0


def test_a_revealed_code_is_read_by_its_codewords(micro: Micro) -> None:
    planted = recorded(micro, attack("regress"), codes(words=3, revealed=True))
    bare = replace(planted, public=replace(planted.public, auxiliary=(), priors=()))
    assert planted.public.keys is not None
    assert found(bare) == 1.0
    without_share = recorded(micro, attack("regress"), codes(words=3, share=False, revealed=True))
    assert found(without_share) == 1.0


@pytest.mark.parametrize("others", [("permute",), ("rotate",), ("decoy",)])
def test_regress_sees_through_a_transform_or_decoys_on_top_of_a_secret_head(
    micro: Micro, others: Sequence[str]
) -> None:
    protocol = secret_head(*(defence(name) for name in others))
    assert found(recorded(micro, attack("regress"), protocol)) >= 0.95


def found(planted: Planted) -> float:
    """Share of the victim's rows that are named right; decoys do not count."""
    guess = attacked(planted)
    assert isinstance(guess, LabelGuess)
    said = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
    assert said.keys() >= planted.truth.labels.keys()
    right = [said[i] == label for i, label in planted.truth.labels.items()]
    return right.count(True) / len(right)


# --- cluster --------------------------------------------------------------------------------------------------


def test_cluster_finds_equal_codewords_in_the_differences_alone() -> None:
    made = Made(20, 600, 8)
    made.difference = made.book[made.labels, 0]
    assert share(guessed("cluster", made, made.known(1), sources="differences").labels, made.labels) == 1.0


def test_cluster_goes_by_the_one_positive_entry_of_a_permuted_probability_difference() -> None:
    """The softmax of strong random scores scatters the differences of a class far more than classes lie apart."""
    made = Made(6)
    chances = (4 * torch.randn(600, 6, generator=drawn(4))).softmax(1)
    made.difference = (torch.eye(6)[made.labels] - chances)[:, torch.tensor([3, 0, 5, 1, 2, 4])]
    assert share(guessed("cluster", made, made.known(20)).labels, made.labels) == 1.0
    assert matched(grouped(made.difference, 6), made.labels) < 0.9


def test_cluster_takes_the_outputs_where_the_differences_are_noise() -> None:
    made = Made(6, follow=6.0)
    made.difference = torch.randn(600, 6, generator=drawn(5))
    both = guessed("cluster", made, made.known(3))
    alone = guessed("cluster", made, made.known(3), sources="differences")
    assert share(alone.labels, made.labels) < 0.5
    assert share(both.labels, made.labels) == 1.0


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="sources 'texts' is none of both, differences, outputs; give one of them"):
        attack("cluster", sources="texts")


# --- fewshot --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [1, 5, 20])
def test_fewshot_labels_every_row_of_a_code_from_known_ones(known: int) -> None:
    made = Made(20, 900, 32)
    assert share(guessed("fewshot", made, made.known(known)).labels, made.labels) == 1.0


def test_fewshot_repeats_the_labels_that_it_knows() -> None:
    made = Made(4)
    wrong = tuple(replace(one, label="class 0") for one in made.known(2).known)
    guess = guessed("fewshot", made, replace(made.public, known=wrong))
    said = dict(zip(guess.ids, guess.labels.tolist(), strict=True))
    assert [said[one.id] for one in wrong] == [0] * 8


def test_fewshot_learns_from_pivots_and_outputs_where_differences_are_noise() -> None:
    made = Made(6, follow=2.0)
    made.difference = torch.randn(600, 6, generator=drawn(5))
    assert share(guessed("fewshot", made, made.known(5)).labels, made.labels) >= 0.95


def test_fewshot_ignores_known_rows_that_did_not_cross() -> None:
    made = Made(4)
    public = made.known(3)
    guess = guessed("fewshot", made, replace(public, known=(*public.known, Known("f" * 16, "class 1"))))
    assert share(guess.labels, made.labels) == 1.0


# --- all three ------------------------------------------------------------------------------------------------


def broken(case: str) -> Made:
    """Inputs that are singular, not finite, or too few."""
    made = Made(2 if case == "two classes" else 6, 7 if case == "few rows" else 60)
    if case == "one row":
        made = Made(6, 1)
    if case == "equal pivots":
        made.pivots = torch.ones_like(made.pivots)
    if case == "equal differences":
        made.difference = torch.ones_like(made.difference)
    if case == "all zero":
        made.difference, made.pivots = torch.zeros_like(made.difference), torch.zeros_like(made.pivots)
    if case == "not finite":
        made.difference[3] = torch.nan
        made.pivots[5] = torch.inf
    return made


@pytest.mark.parametrize("name", ["cluster", "fewshot", "regress"])
@pytest.mark.parametrize(
    "case", ["one row", "few rows", "two classes", "equal pivots", "equal differences", "all zero", "not finite"]
)
def test_bad_input_still_gets_a_label_for_every_row(name: str, case: str) -> None:
    made = broken(case)
    guess = guessed(name, made, made.known(1))
    assert guess.labels.dtype == torch.int64
    assert guess.labels.shape == (len(guess.ids),)
    assert bool(((guess.labels >= 0) & (guess.labels < len(made.public.labels))).all())


@pytest.mark.parametrize("name", ["cluster", "fewshot", "regress"])
def test_an_empty_view_gets_an_empty_guess(name: str) -> None:
    view = View(frozenset({SERVER}), [], {"tuned": dict(side(4, 3).state_dict())}, {})
    guess = attack(name).run(view, Public({}, ("a", "b", "c"), known=(Known("0" * 16, "a"),)), {}, drawn())
    assert isinstance(guess, LabelGuess)
    assert guess.ids == ()
