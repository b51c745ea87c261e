"""Fano's bound against values worked out by hand and against a channel whose information is known."""

from __future__ import annotations

import math

import numpy
import pytest

from sidelight.audits.statistics import information


def hits(right: int, rows: int) -> numpy.ndarray:
    return numpy.repeat([1.0, 0.0], [right, rows - right])


def test_a_decoder_that_is_always_right_proves_the_whole_entropy() -> None:
    found = information(hits(12, 12), [6, 3, 3])
    assert found.entropy == pytest.approx(1.5 * math.log(2))
    assert found.bound == found.entropy
    assert (found.accuracy, found.rows) == (1.0, 12)


@pytest.mark.parametrize("classes", [2, 5, 77])
def test_a_decoder_at_chance_proves_nothing(classes: int) -> None:
    assert information(hits(10, 10 * classes), [10] * classes).bound == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("classes", "right"), [(2, 0.9), (4, 0.7), (20, 0.5)])
def test_the_bound_is_the_information_of_a_channel_whose_errors_are_uniform(classes: int, right: float) -> None:
    joint = numpy.full((classes, classes), (1 - right) / (classes - 1) / classes)
    numpy.fill_diagonal(joint, right / classes)
    mutual = float((joint * numpy.log(joint * classes * classes)).sum())
    assert information(hits(round(100 * right), 100), [50] * classes).bound == pytest.approx(mutual)


def test_the_bound_is_never_negative() -> None:
    assert information(hits(10, 20), [18, 1, 1]).bound == 0.0


def test_a_class_without_rows_adds_no_entropy() -> None:
    assert information(hits(4, 4), [2, 2, 0]).entropy == pytest.approx(math.log(2))
