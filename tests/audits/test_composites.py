"""The harness's vote: what it takes from whom, counted by hand."""

from __future__ import annotations

import numpy
import pytest
import torch

from sidelight.attacks.attack import EpsilonBound, LabelGuess, StolenModel, TextGuess
from sidelight.audits.cells.composites import combined, measure_composite
from sidelight.audits.cells.scoring import Rows
from sidelight.audits.statistics import Measured


def labels(*values: int, ids: str = "abc") -> LabelGuess:
    return LabelGuess(tuple(ids), torch.tensor(values))


def texts(*rows: tuple[int, ...], sure: tuple[bool, ...] = ()) -> TextGuess:
    return TextGuess(tuple("ab"[: len(rows)]), rows, sure)


def test_the_label_that_most_members_give_wins() -> None:
    made = combined([labels(0, 1, 2), labels(0, 2, 2), labels(1, 1, 0)])
    assert isinstance(made, LabelGuess)
    assert (made.ids, made.labels.tolist()) == (("a", "b", "c"), [0, 1, 2])


def test_a_tie_goes_to_the_member_whom_the_others_agree_with_most() -> None:
    # on row d all differ; the second agrees with the first on a, b and with the third on c
    members = [labels(0, 0, 1, 0, ids="abcd"), labels(0, 0, 2, 1, ids="abcd"), labels(3, 3, 2, 2, ids="abcd")]
    made = combined(members)
    assert isinstance(made, LabelGuess)
    assert made.labels.tolist() == [0, 0, 2, 1]


def test_a_row_that_one_member_leaves_out_is_guessed_by_the_others() -> None:
    made = combined([labels(1, 1, ids="ab"), labels(2, ids="c")])
    assert isinstance(made, LabelGuess)
    assert dict(zip(made.ids, made.labels.tolist(), strict=True)) == {"a": 1, "b": 1, "c": 2}


def test_a_certified_text_outvotes_all_others() -> None:
    made = combined([texts((1, 2), (5,)), texts((1, 2), (6,)), texts((9, 9), (7,), sure=(True, False))])
    assert isinstance(made, TextGuess)
    assert made.tokens == ((9, 9), (5,))
    assert made.certified == (True, False)


def test_texts_of_no_sample_have_no_vote() -> None:
    assert combined([texts((1, 2)), TextGuess((), ((1, 2), (3,)))]) is None


def test_tokens_are_voted_place_by_place_and_a_text_ends_where_most_members_end() -> None:
    made = combined([texts((1, 2, 3)), texts((1, 5)), texts((4, 5)), texts((4, 5, 6, 7))])
    assert isinstance(made, TextGuess)
    assert made.tokens == ((1, 5, 3),)
    assert made.certified == ()


def test_stolen_models_are_averaged_as_probabilities() -> None:
    one, two = torch.tensor([[4.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    made = combined([StolenModel(("q", "r"), one), StolenModel(("r", "q"), two)])
    assert isinstance(made, StolenModel)
    expected = (one.softmax(1) + two.flip(0).softmax(1)) / 2
    assert torch.allclose(made.outputs, expected)


@pytest.mark.parametrize("guesses", [[], [labels(1, 1, 1)], [labels(0, 1, 2), texts((1,))]])
def test_too_few_or_different_guesses_are_not_combined(guesses: list[LabelGuess | TextGuess]) -> None:
    assert combined(guesses) is None


def test_a_bound_is_nothing_to_vote_on() -> None:
    assert combined([EpsilonBound(1.0, 1e-5, 0.95)] * 2) is None


def test_a_composite_is_compared_with_the_vote_of_the_shuffled_guesses_and_the_twins_of_all_its_members() -> None:
    ids, prior = ("a", "b"), numpy.array([0.0, 1.0])
    members = {
        "sign": {"accuracy": Measured(ids, prior, {"prior": prior}, {"prior": prior})},
        "addback": {"accuracy": Measured(ids, prior, {"prior": 1 - prior}, {"probe": 1 - prior})},
    }
    shuffled = {"accuracy": Rows(ids, numpy.array([0.0, 0.0]))}
    made = measure_composite({"accuracy": Rows(ids, numpy.array([1.0, 1.0]))}, shuffled, members)["accuracy"]
    assert {name: values.tolist() for name, values in made.outsider.items()} == {
        "prior of sign": [0, 1],
        "prior of addback": [1, 0],
        "shuffled": [0, 0],
    }
    assert {name: values.tolist() for name, values in made.rest.items()} == {
        "prior of sign": [0, 1],
        "probe of addback": [1, 0],
    }
