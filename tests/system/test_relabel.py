"""Labels drawn by coin and labels reassigned: what the texts then tell of them is chance."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.stats import binomtest, chisquare

from sidelight.system.data import Sample, with_random_labels, with_reassigned_labels

LABELS = ("a", "b", "c", "d")
SAMPLES = tuple(Sample(f"{i:016x}", f"text {i}", LABELS[i % 3], ()) for i in range(4000))


def test_a_coin_of_that_share_falls_and_draws_every_label_alike() -> None:
    made = with_random_labels(SAMPLES, 0.1, LABELS, np.random.default_rng(0))
    fallen = [sample for sample in made if sample.random]
    assert binomtest(len(fallen), len(made), 0.1).pvalue > 0.001
    assert chisquare([Counter(s.label for s in fallen)[label] for label in LABELS]).pvalue > 0.001


def test_rows_that_the_coin_spares_stay_as_they_were_and_no_text_moves() -> None:
    made = with_random_labels(SAMPLES, 0.1, LABELS, np.random.default_rng(0))
    assert [(s.id, s.text) for s in made] == [(s.id, s.text) for s in SAMPLES]
    assert all(new == old for new, old in zip(made, SAMPLES, strict=True) if not new.random)


def test_the_true_label_of_a_random_row_is_hit_by_the_old_one_as_often_as_by_chance() -> None:
    made = with_random_labels(SAMPLES, 0.5, LABELS, np.random.default_rng(1))
    hits = [new.label == old.label for new, old in zip(made, SAMPLES, strict=True) if new.random]
    assert binomtest(sum(hits), len(hits), 1 / len(LABELS)).pvalue > 0.001


def test_reassigned_rows_are_no_longer_random_since_their_labels_are_not_uniform() -> None:
    drawn = with_random_labels(SAMPLES, 0.5, LABELS, np.random.default_rng(1))
    assert not any(sample.random for sample in with_reassigned_labels(drawn, np.random.default_rng(0)))


def test_reassigned_labels_keep_every_class_as_large_and_follow_no_row() -> None:
    made = with_reassigned_labels(SAMPLES, np.random.default_rng(0))
    assert Counter(s.label for s in made) == Counter(s.label for s in SAMPLES)
    assert [(s.id, s.text) for s in made] == [(s.id, s.text) for s in SAMPLES]
    kept = sum(new.label == old.label for new, old in zip(made, SAMPLES, strict=True))
    assert binomtest(kept, len(made), 1 / 3).pvalue > 0.001
