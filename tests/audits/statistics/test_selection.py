"""Halves, twins and the best of several attacks."""

from __future__ import annotations

import math

import numpy
import pytest

from sidelight.audits.statistics import Measured, Values, best, best_of, half_of

from .rows import ROWS, counts, draws, measured, mixed, names


def test_half_of_the_rows_is_fixed_by_their_ids_in_whatever_order() -> None:
    ids = names(101)
    half = half_of(ids)
    assert half.sum() == 51
    order = draws().permutation(101)
    assert half_of([ids[at] for at in order]).tolist() == half[order].tolist()


def test_halves_say_nothing_about_the_order_of_the_rows() -> None:
    half = half_of(names(1000))
    assert 200 < half[:500].sum() < 300


def test_a_half_splits_in_halves_again() -> None:
    ids = numpy.array(names(200))
    second = ids[~half_of(tuple(ids))]
    assert half_of(tuple(second)).sum() == 50


def test_the_best_of_twenty_noise_candidates_stays_at_chance() -> None:
    generator = draws(13)
    means = [_best_of_noise(generator).mean() for _ in range(200)]
    assert numpy.mean(means) == pytest.approx(0.5, abs=3 * 0.5 / math.sqrt(200 * ROWS) + 0.002)


def _best_of_noise(generator: numpy.random.Generator) -> Values:
    candidates = {f"{i:02d}": mixed(0.5, ROWS, generator) for i in range(20)}
    return best_of(candidates, generator.random(ROWS) < 0.5)[0]


def test_a_candidate_that_is_better_everywhere_is_chosen_for_both_halves() -> None:
    good, poor = counts(80, 100), counts(10, 100)
    values, chosen = best_of({"poor": poor, "good": good}, numpy.arange(100) % 2 == 0)
    assert chosen == ("good",)
    assert values.tolist() == good.tolist()


def test_each_half_takes_the_candidate_that_is_best_on_the_other() -> None:
    half = numpy.arange(100) < 50
    first, second = counts(50, 100), counts(50, 100)[::-1].copy()
    values, chosen = best_of({"first": first, "second": second}, half)
    assert values.sum() == 0  # each candidate is good on the half on which it was not chosen for
    assert chosen == ("first", "second")


def test_rows_of_one_half_only_still_have_a_best_candidate() -> None:
    values, _ = best_of({"a": counts(1, 1)}, numpy.array([True]))
    assert values.tolist() == [1.0]


# --- the best of several attacks -------------------------------------------------------------------------------


def attack(rows: Values, **twins: Values) -> Measured:
    return measured(rows, {"prior": numpy.zeros(len(rows)), **twins}, {"probe": numpy.zeros(len(rows))})


def test_the_best_attack_is_chosen_on_one_half_and_reported_on_the_other() -> None:
    half = half_of(names(100))
    lucky, honest = half.astype(float), numpy.full(100, 0.25)  # right on half A only
    found, name = best({"honest": attack(honest), "lucky": attack(lucky)})
    assert name == "lucky"
    assert found.attack.tolist() == [0.0] * 50
    assert found.ids == tuple(row for row, inside in zip(names(100), half, strict=True) if not inside)


def test_the_best_attack_is_measured_against_every_twin_of_every_attack() -> None:
    own, other, same = counts(3, 10), counts(5, 10), counts(7, 10)
    candidates = {
        "one": attack(counts(2, 10), shuffled=own, language=same),
        "two": attack(counts(9, 10), shuffled=other, language=same),
    }
    found, name = best(candidates)
    kept = ~half_of(names(10))
    assert name == "two"
    assert set(found.outsider) == {"prior", "shuffled", "shuffled of two", "language"}
    assert found.outsider["shuffled"].tolist() == own[kept].tolist()
    assert found.outsider["shuffled of two"].tolist() == other[kept].tolist()
    assert set(found.rest) == {"probe"}


def test_the_best_attack_keeps_the_exact_chance() -> None:
    assert best({"a": measured(counts(1, 4), blind=0.25)})[0].blind == 0.25


def test_attacks_on_other_rows_or_other_chances_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same rows"):
        best({"a": attack(counts(1, 4)), "b": attack(counts(1, 5))})
    with pytest.raises(ValueError, match="same exact chance"):
        best({"a": measured(counts(1, 4), blind=0.25), "b": measured(counts(1, 4), blind=0.5)})


def test_nothing_and_a_single_row_have_no_best_attack() -> None:
    with pytest.raises(ValueError, match="at least one"):
        best({})
    with pytest.raises(ValueError, match="at least two rows"):
        best({"a": attack(counts(1, 1))})


def test_a_missing_score_is_refused_before_anything_is_chosen() -> None:
    with pytest.raises(ValueError, match="a row without a score counts as 0"):
        best({"a": attack(numpy.array([1.0, numpy.nan])), "b": attack(numpy.array([1.0, 0.0]))})
