"""Guesses made by hand against a truth made by hand: every expected value can be counted on fingers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from math import log
from typing import Any

import pytest
import torch

from sidelight.attacks.attack import EpsilonBound, Goal, LabelGuess, StolenModel, TextGuess
from sidelight.audits.cells.scoring import PARTITION, PRIMARY, RANDOM, Answers, calibrated, random_row_bound, score
from sidelight.system.truth import TrueText, Truth

WORDS = ["my", "card", "ends", "in", "1234", "please", "call", "ann", "now", "?"]
"""The word of each token."""


def decode(tokens: Sequence[int]) -> str:
    return " ".join(WORDS[token] for token in tokens)


def row(name: str, label: str, tokens: tuple[int, ...], slots: str = "", spans: tuple[str, ...] = ()) -> TrueText:
    marks = tuple(mark == "s" for mark in slots) if slots else (False,) * len(tokens)
    return TrueText(name, decode(tokens), label, tokens, marks, spans)


ROWS = (
    row("a", "no", (0, 1, 2, 3, 4), "tttts", ("1234",)),
    row("b", "yes", (5, 6, 7, 8), "ttst", ("ann",)),
    row("c", "yes", (8, 9)),
    row("d", "no", (5,)),
)
OUTPUTS = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
ANSWERS = Answers(Truth(ROWS, ("q0", "q1", "q2"), OUTPUTS), ("no", "yes"), ("a", "b", "c"), decode)


def means(goal: Goal, guess: Any) -> dict[str, float]:
    return {name: float(rows.values.mean()) for name, rows in score(goal, guess, ANSWERS).items()}


def texts(*guesses: tuple[str, tuple[int, ...]], certified: tuple[bool, ...] = ()) -> TextGuess:
    return TextGuess(tuple(name for name, _ in guesses), tuple(tokens for _, tokens in guesses), certified)


PERFECT = texts(("a", ROWS[0].tokens), ("b", ROWS[1].tokens), ("c", ROWS[2].tokens))


def test_labels_are_joined_on_ids_whatever_their_order() -> None:
    guess = LabelGuess(("d", "b", "a", "c"), torch.tensor([0, 1, 0, 0]))
    rows = score(Goal.LABELS, guess, ANSWERS)["accuracy"]
    assert (rows.ids, rows.values.tolist()) == (("a", "b", "c", "d"), [1, 1, 0, 1])


def test_missing_labels_texts_and_queries_count_as_wrong() -> None:
    labels = means(Goal.LABELS, LabelGuess(("a",), torch.tensor([0])))
    assert labels == {"accuracy": 1 / 4, PARTITION: 1 / 4}
    found = score(Goal.TEXTS, texts(("c", ROWS[2].tokens)), ANSWERS)["position_accuracy"]
    assert (found.ids, found.values.tolist()) == (("a", "b", "c"), [0, 0, 1])
    assert means(Goal.MODEL, StolenModel(("q0",), OUTPUTS[:1])) == {"agreement": pytest.approx(1 / 3)}


# --- labels ----------------------------------------------------------------------------------------------------


def drawn(classes: int, count: int, seed: int) -> tuple[Answers, LabelGuess]:
    """Rows with uniform labels, and a guess that knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    true, guessed = torch.randint(classes, (2, count), generator=generator)
    names = tuple(f"{label:03d}" for label in range(classes))
    rows = tuple(row(f"{i}", names[label], ()) for i, label in enumerate(true.tolist()))
    return Answers(Truth(rows, (), OUTPUTS), names, (), decode), LabelGuess(tuple(r.id for r in rows), guessed)


def labelled(guess: LabelGuess, answers: Answers) -> dict[str, float]:
    return {name: float(rows.values.mean()) for name, rows in score(Goal.LABELS, guess, answers).items()}


def test_rows_whose_labels_are_known_are_in_no_score_of_labels_whatever_a_guess_says_of_them() -> None:
    rows = (*ROWS, replace(ROWS[0], id="e", random=True), replace(ROWS[1], id="f", random=True))
    answers = replace(ANSWERS, truth=Truth(rows, (), OUTPUTS), known=frozenset({"b", "e"}))
    ids = tuple(r.id for r in rows)
    true = torch.tensor([answers.labels.index(r.label) for r in rows])
    told = torch.tensor([r.id in answers.known for r in rows])
    for of_known in (true, 1 - true):
        found = score(Goal.LABELS, LabelGuess(ids, torch.where(told, of_known, true)), answers)
        assert {name: one.ids for name, one in found.items()} == {
            "accuracy": ("a", "c", "d"),
            PARTITION: ("a", "c", "d"),
            RANDOM: ("f",),
        }
        assert all(one.values.all() for one in found.values())


def test_a_known_label_leaves_the_rows_text_to_be_guessed() -> None:
    found = score(Goal.TEXTS, PERFECT, replace(ANSWERS, known=frozenset({"a", "b"})))
    assert found["position_accuracy"].ids == ("a", "b", "c")


def test_samples_that_the_device_made_up_are_not_scored() -> None:
    guess = LabelGuess(("decoy", "a", "b", "c", "d"), torch.tensor([0, 1, 0, 0, 1]))
    assert labelled(guess, ANSWERS) == {"accuracy": 0, PARTITION: 1}


def test_right_groups_under_wrong_names_are_right_after_the_matching_alone() -> None:
    answers, _ = drawn(5, 100, seed=0)
    true = torch.tensor([answers.labels.index(r.label) for r in answers.truth.rows])
    guess = LabelGuess(tuple(r.id for r in answers.truth.rows), (true + 2) % 5)
    assert labelled(guess, answers) == {"accuracy": 0, PARTITION: 1}


def test_the_matching_is_the_best_of_all_one_to_one_renamings() -> None:
    for seed in range(5):
        answers, guess = drawn(4, 30, seed)
        true = torch.tensor([answers.labels.index(r.label) for r in answers.truth.rows])
        expected = max((torch.tensor(p)[guess.labels] == true).float().mean().item() for p in permutations(range(4)))
        assert labelled(guess, answers)[PARTITION] == pytest.approx(expected)


def test_two_guessed_classes_are_never_matched_with_one_true_class() -> None:
    answers = replace(ANSWERS, truth=Truth(tuple(replace(r, label="no") for r in ROWS), (), OUTPUTS))
    guess = LabelGuess(("a", "b", "c", "d"), torch.tensor([0, 0, 0, 1]))
    assert labelled(guess, answers)[PARTITION] == 3 / 4


def test_random_label_rows_have_no_say_in_the_matching() -> None:
    others = [replace(ROWS[1], id=f"r{i}", random=True) for i in range(9)]
    answers = replace(ANSWERS, truth=Truth((*ROWS, *others), (), OUTPUTS))
    ids = ("a", "b", *(r.id for r in others))
    found = score(Goal.LABELS, LabelGuess(ids, torch.tensor([0, 1] + [0] * 9)), answers)
    assert found[PARTITION].values.tolist() == [1, 1, 0, 0]
    assert found[RANDOM].values.sum() == 0


def test_rows_without_a_guess_have_no_say_in_the_matching() -> None:
    """Most of them are "yes"; the only guess, of a "no", is still the best name for "no"."""
    answers = replace(ANSWERS, truth=Truth((*ROWS, replace(ROWS[1], id="e")), (), OUTPUTS))
    for guessed in (0, 1):
        found = score(Goal.LABELS, LabelGuess(("a",), torch.tensor([guessed])), answers)[PARTITION]
        assert found.values.tolist() == [1, 0, 0, 0, 0]


def test_of_77_classes_and_300_rows_a_guess_that_knows_nothing_has_a_partition_of_0_27() -> None:
    found = [labelled(guess, answers) for answers, guess in (drawn(77, 300, seed) for seed in range(10))]
    assert sum(one[PARTITION] for one in found) / 10 == pytest.approx(0.27, abs=0.01)
    assert sum(one["accuracy"] for one in found) / 10 == pytest.approx(1 / 77, abs=0.01)


def test_randomised_response_bounds_random_rows_by_the_probability_that_a_label_stays() -> None:
    assert random_row_bound(log(3), 2) == pytest.approx(3 / 4)
    assert random_row_bound(log(6), 7) == pytest.approx(1 / 2)
    assert random_row_bound(1e-12, 20) == pytest.approx(1 / 20)
    assert random_row_bound(1000.0, 20) == 1


# --- models and texts ------------------------------------------------------------------------------------------


def test_agreement_compares_the_largest_output_not_the_outputs() -> None:
    stolen = StolenModel(("q2", "q1", "q0"), torch.tensor([[-9.0, 9.0], [5.0, 6.0], [0.0, 1.0]]))
    rows = score(Goal.MODEL, stolen, ANSWERS)["agreement"]
    assert (rows.ids, rows.values.tolist()) == (("q0", "q1", "q2"), [0, 1, 1])


def test_a_right_text_scores_one_on_every_metric() -> None:
    found = means(Goal.TEXTS, PERFECT)
    assert set(found.values()) == {1.0}
    assert next(iter(found)) == PRIMARY[Goal.TEXTS]


def test_only_the_rows_asked_for_are_scored_and_a_guess_of_others_gains_nothing() -> None:
    guess = texts(("d", ROWS[3].tokens))
    found = score(Goal.TEXTS, guess, ANSWERS)
    assert found["position_accuracy"].ids == ("a", "b", "c")
    assert found["position_accuracy"].values.sum() == 0


def test_texts_are_aligned_on_the_left_and_the_truth_is_the_denominator() -> None:
    shifted = texts(("a", (1, 2, 3, 4)), ("b", (5, 6)), ("c", (8, 9, 9, 9)))
    found = score(Goal.TEXTS, shifted, ANSWERS)
    assert found["position_accuracy"].values.tolist() == [0, 2 / 4, 2 / 2]
    assert found["exact"].values.tolist() == [0, 0, 0]


def test_texts_without_ids_are_matched_to_the_rows_one_to_one() -> None:
    found = TextGuess((), (ROWS[2].tokens, (0, 1, 2), ROWS[1].tokens, (7, 7)), (True, False, False, False))
    rows = score(Goal.TEXTS, found, ANSWERS)
    assert rows["position_accuracy"].values.tolist() == [3 / 5, 1, 1]
    assert rows["certified_recall"].values.tolist() == [0, 0, 1]


def test_more_texts_than_there_are_rows_are_no_advantage() -> None:
    many = tuple((9, token) for token in range(9))
    assert means(Goal.TEXTS, TextGuess((), (*many, *PERFECT.tokens)))["exact"] == 0  # the first four are kept
    sure = (False,) * len(many) + (True,) * len(PERFECT.tokens)
    assert means(Goal.TEXTS, TextGuess((), (*many, *PERFECT.tokens), sure))["exact"] == 1


def test_one_text_without_an_id_stands_for_one_row_alone() -> None:
    found = means(Goal.TEXTS, TextGuess((), (ROWS[1].tokens,)))
    assert found["exact"] == pytest.approx(1 / 3)
    assert means(Goal.TEXTS, TextGuess((), ()))["position_accuracy"] == 0


def test_the_order_free_score_counts_tokens_with_their_number() -> None:
    found = score(Goal.TEXTS, texts(("a", (4, 3, 2, 1, 0)), ("b", (5, 5, 5, 5)), ("c", ())), ANSWERS)
    assert found["bag_f1"].values.tolist() == [1, pytest.approx(2 * 1 / 8), 0]


def test_slot_tokens_are_scored_apart_from_template_tokens() -> None:
    templates = texts(("a", (0, 1, 2, 3, 9)), ("b", (5, 6, 9, 8)), ("c", ROWS[2].tokens))
    found = score(Goal.TEXTS, templates, ANSWERS)
    assert (found["slot_accuracy"].ids, found["slot_accuracy"].values.tolist()) == (("a", "b"), [0, 0])
    assert found["template_accuracy"].values.tolist() == [1, 1, 1]
    slots = score(Goal.TEXTS, texts(("a", (9, 9, 9, 9, 4)), ("b", (9, 9, 7))), ANSWERS)
    assert slots["slot_accuracy"].values.tolist() == [1, 1]
    assert slots["template_accuracy"].values.tolist() == [0, 0, 0]


def test_personal_spans_are_looked_for_in_every_text_that_has_some() -> None:
    found = score(Goal.TEXTS, texts(("a", (8, 4)), ("b", (5, 6))), ANSWERS)["pii_recall"]
    assert (found.ids, found.values.tolist()) == (("a", "b"), [1, 0])


def test_words_are_compared_by_place() -> None:
    found = score(Goal.TEXTS, texts(("a", (0, 1, 9, 3, 4)), ("b", (6, 5)), ("c", (8, 9, 1))), ANSWERS)
    assert found["word_accuracy"].values.tolist() == [4 / 5, 0, 1]


def test_certified_precision_is_of_certified_rows_and_recall_of_all_that_are_right() -> None:
    guess = texts(("a", ROWS[0].tokens), ("b", (1, 1, 1, 1)), ("c", ROWS[2].tokens), certified=(True, True, False))
    found = score(Goal.TEXTS, guess, ANSWERS)
    assert (found["certified_precision"].ids, found["certified_precision"].values.tolist()) == (("a", "b"), [1, 0])
    assert (found["certified_recall"].ids, found["certified_recall"].values.tolist()) == (("a", "b", "c"), [1, 0, 0])


def test_nothing_certified_has_a_recall_of_zero_and_no_precision() -> None:
    guess = texts(*((r.id, r.tokens) for r in ROWS[:3]), certified=(False, False, False))
    found = means(Goal.TEXTS, guess)
    assert found["certified_recall"] == 0
    assert "certified_precision" not in found


def test_a_certificate_of_a_row_that_nobody_asked_for_is_not_counted() -> None:
    found = means(Goal.TEXTS, texts(("d", ROWS[3].tokens), certified=(True,)))
    assert found["certified_recall"] == 0
    assert "certified_precision" not in found


def test_metrics_that_apply_to_no_row_are_left_out() -> None:
    plain = Answers(Truth(ROWS[2:], (), torch.zeros(0, 2)), ("no", "yes"), ("c", "d"), decode)
    found = score(Goal.TEXTS, texts(("c", (8, 9))), plain)
    assert {"slot_accuracy", "pii_recall", "certified_recall"}.isdisjoint(found)


def test_a_text_without_tokens_is_not_scored() -> None:
    answers = Answers(Truth((*ROWS, row("e", "no", ())), (), OUTPUTS), ("no", "yes"), ("a", "e"), decode)
    assert score(Goal.TEXTS, PERFECT, answers)["position_accuracy"].ids == ("a",)


def test_a_goal_without_a_scorer_is_refused() -> None:
    with pytest.raises(TypeError, match="no scorer takes a EpsilonBound"):
        score(Goal.EPSILON, EpsilonBound(1, 1e-5, 0.95), ANSWERS)


def test_a_stolen_model_is_also_scored_by_the_true_labels_and_by_how_near_its_probabilities_are() -> None:
    truth = replace(ANSWERS.truth, query_labels=("no", "yes", "no"))
    answers = replace(ANSWERS, truth=truth)
    queries = truth.queries
    same, turned = (score(Goal.MODEL, StolenModel(queries, outputs), answers) for outputs in (OUTPUTS, OUTPUTS.flip(1)))
    assert same["agreement"].values.tolist() == [1, 1, 1]
    assert same["task_accuracy"].values.tolist() == [1, 1, 0]
    assert same["closeness"].values.tolist() == pytest.approx([1, 1, 1])
    assert turned["agreement"].values.tolist() == [0, 0, 0]
    assert turned["task_accuracy"].values.tolist() == [0, 0, 1]
    assert float(turned["closeness"].values.max()) < 1


def test_scores_of_any_height_are_the_same_probabilities() -> None:
    """A softmax is told apart by its order and its ratios of differences alone, once the height is fitted."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(200, 4, generator=generator), torch.randint(4, (200,), generator=generator)
    logits[torch.arange(200), labels] += 2
    found = calibrated(logits, labels)
    torch.testing.assert_close(calibrated(7 * logits + 3, labels), found)
    torch.testing.assert_close(calibrated(logits.softmax(1), labels), found)
    assert float((found.sum(1) - 1).abs().max()) < 1e-9
