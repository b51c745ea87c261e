"""Scores of membership, against hand-made games and scikit-learn's curve; what text alone tells; what is refused."""

from __future__ import annotations

from math import log

import numpy
import pytest
import torch
from sklearn.metrics import roc_auc_score

from sidelight.attacks.attack import MembershipScores
from sidelight.audits.cells.membership import Game
from sidelight.system.public import Challenge

WORDS = "saucepan violin thunder tulip suitcase invoice candle marble copper velvet".split()


def game(members: int, others: int, telling: bool = False) -> Game:
    """Rows whose texts say nothing, or whose members all use a word of their own."""
    generator = numpy.random.default_rng(3)
    inside = generator.permutation([True] * members + [False] * others)
    rows = []
    for at, member in enumerate(inside):
        words = [*generator.choice(WORDS, 4), *(["inside"] if telling and member else [])]
        rows.append(Challenge(f"c{at}", " ".join(words), "label"))
    owners = {row.id: "device-0" for row, member in zip(rows, inside, strict=True) if member}
    return Game(tuple(rows), owners, {row.id: at for at, row in enumerate(rows)})


def guess(of: Game, shift: float, missing: int = 0) -> MembershipScores:
    """Gaussian scores, of members so much higher; the first few rows are left out."""
    scores = torch.randn(len(of.challenge), generator=torch.Generator().manual_seed(0))
    scores += shift * torch.tensor([one.id in of.members for one in of.challenge])
    ids = tuple(one.id for one in of.challenge)
    return MembershipScores(ids[missing:], scores[missing:])


def test_scores_that_say_nothing_find_a_hundredth_at_one_hundredth() -> None:
    found = game(3000, 4000)
    values = found.scored(guess(found, 0.0))
    assert values["tpr_at_1"].mean() == pytest.approx(0.01, abs=0.007)
    assert values["auc"].mean() == pytest.approx(0.5, abs=0.02)
    assert list(values) == ["tpr_at_1", "auc"]  # 4,000 others do not resolve a thousandth


def test_a_thousandth_is_stated_from_ten_thousand_others_on() -> None:
    assert list(game(10, 10_000).scored(guess(game(10, 10_000), 1.0))) == ["tpr_at_1", "tpr_at_01", "auc"]
    assert list(game(10, 999).scored(guess(game(10, 999), 1.0))) == ["auc"]


def test_true_positives_of_a_shifted_gaussian_are_those_of_its_tail() -> None:
    found = game(4000, 8000)
    # the normal distribution's 99th percentile is 2.326; a shift of two leaves 0.372 above it
    assert found.scored(guess(found, 2.0))["tpr_at_1"].mean() == pytest.approx(0.372, abs=0.05)


def test_the_area_is_scikit_learns() -> None:
    found = game(300, 1200)
    made = guess(found, 0.7)
    truth = [one.id in found.members for one in found.challenge]
    assert found.scored(made)["auc"].mean() == pytest.approx(roc_auc_score(truth, made.scores.numpy()))


def test_equal_scores_find_nobody_and_have_half_the_area() -> None:
    found = game(100, 1000)
    same = MembershipScores(tuple(one.id for one in found.challenge), torch.zeros(1100))
    values = found.scored(same)
    assert (values["tpr_at_1"].sum(), values["auc"].mean()) == (0, 0.5)


def test_a_row_without_a_score_stands_below_all_others() -> None:
    found = game(100, 1000)
    values = found.scored(guess(found, 50.0, missing=60))
    absent = [one.id in found.members for one in found.challenge[:60]]
    assert values["tpr_at_1"].sum() == 100 - sum(absent)


def test_the_curve_tells_the_ratio_at_the_threshold_and_a_bound_on_epsilon() -> None:
    found = game(1000, 4000)
    curve = found.curve(guess(found, 50.0))
    assert (curve["members"], curve["non_members"], set(curve["tpr"])) == (1000, 4000, {1.0})
    false = curve["false_positives"]
    assert false["value"] == pytest.approx(0.01, abs=0.006)
    assert curve["log_ratio"] == pytest.approx(log(1 / false["value"]))
    # nobody of a thousand is missed: by Clopper and Pearson the rate is at least 0.025 to the power of a thousandth
    assert curve["epsilon"] == pytest.approx(log(0.025**0.001 / false["high"]))
    assert curve["fpr"] == sorted(curve["fpr"])
    assert curve["tpr"] == sorted(curve["tpr"])


def test_a_guess_that_finds_nobody_bounds_epsilon_by_nothing() -> None:
    found = game(200, 1000)
    curve = found.curve(guess(found, -50.0))
    assert (curve["epsilon"], curve["log_ratio"]) == (0, None)


def test_texts_that_say_nothing_tell_nothing_and_telling_texts_all() -> None:
    silent, telling = game(400, 1600), game(400, 1600, telling=True)
    assert silent.scored(silent.text_only)["auc"].mean() == pytest.approx(0.5, abs=0.05)
    assert telling.scored(telling.text_only)["tpr_at_1"].mean() > 0.95


def test_texts_are_not_learnt_from_their_own_near_duplicates() -> None:
    """Pairs with a word of their own: whoever had seen one would know the other."""
    rows = tuple(Challenge(f"c{at}", f"{WORDS[at % 10]} own{at // 2}", "label") for at in range(2000))
    inside = numpy.random.default_rng(0).random(1000) < 0.4
    members = {row.id: "device-0" for at, row in enumerate(rows) if inside[at // 2]}
    found = Game(rows, members, {row.id: at // 2 for at, row in enumerate(rows)})
    assert found.scored(found.text_only)["auc"].mean() == pytest.approx(0.5, abs=0.05)


def test_members_given_to_their_devices_are_counted_beside_the_commonest_device() -> None:
    found = game(300, 1000)
    names = [one.id for one in found.challenge]
    owners = {name: f"device-{at % 3 > 0:d}" for at, name in enumerate(found.ids)}  # two thirds are of device-1
    shared = Game(found.challenge, owners, found.groups)
    made = guess(shared, 1.0)
    right = MembershipScores(made.ids, made.scores, tuple(owners.get(name, "device-0") for name in names))
    assert shared.scored(right)["owner_accuracy"].mean() == 1
    assert shared.scored(shared.text_only)["owner_accuracy"].mean() == pytest.approx(2 / 3)


def test_without_a_second_device_or_a_word_of_any_no_owner_is_scored() -> None:
    found = game(30, 1000)
    made = guess(found, 1.0)
    named = MembershipScores(made.ids, made.scores, ("device-0",) * len(made.ids))
    assert "owner_accuracy" not in found.scored(named)
    assert "owner_accuracy" not in found.scored(made)


def test_a_pool_whose_texts_tell_members_is_called_no_fair_game() -> None:
    assert game(400, 1600).biased is None
    area = game(400, 1600, telling=True).biased
    assert area is not None
    assert area > 0.95
