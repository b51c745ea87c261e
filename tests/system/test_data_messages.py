"""The generated data set `messages`."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sidelight.system.data import Sample, Sizes, load, split
from sidelight.system.data.messages import generate, intents, message

SHAPES = {
    "AMOUNT": r"\$\d+\.\d\d|\d+ (euros|dollars)|\d+\.\d\d pounds",
    "ADDRESS": r"\d+ [A-Z][a-z]+ [A-Z][a-z]+(, [A-Z][a-z]+)?",
    "PHONE": r"07700 900\d{3}|020 7946 0\d{3}|\d{3}-555-01\d\d",
    "EMAIL": r"[a-z]+[._]?[a-z]+(\d\d)?@example\.(com|org|net)",
    "ACCOUNT": r"\d{4}|\d{8}|9\d{3}( \d{4}){3}",
    "NAME": r"[A-Z][a-z]+( [A-Z][a-z]+)?",
    "TIME": r"\d+:\d\d",
}
"""What a value of each kind looks like, written down independently of the generator."""


def test_the_same_generator_state_gives_the_same_rows_and_another_does_not() -> None:
    first, again, other = (generate(300, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == again
    assert len({row.text for row in first} & {row.text for row in other}) < 30


def test_rows_are_distinct_and_intents_equally_frequent() -> None:
    rows = generate(720, np.random.default_rng(0))
    assert len({row.text for row in rows}) == 720
    assert len(intents()) >= 20
    assert {sum(row.label == intent for row in rows) for intent in intents()} == {30}


def test_labels_differ_in_their_first_word_so_that_they_can_be_read_as_label_words() -> None:
    assert len({intent.split("_")[0] for intent in intents()}) == len(intents())


def test_spans_cover_exactly_the_values_of_the_slots() -> None:
    rows = generate(2000, np.random.default_rng(1))
    for row in rows:
        for span in row.spans:
            value = row.text[span.start : span.end]
            assert re.fullmatch(SHAPES.get(span.kind, r"\S|\S.*\S"), value), (span, row.text)
    assert {"SECRET", "DATE", *SHAPES} <= {span.kind for row in rows for span in row.spans}


def test_no_digit_stands_outside_a_span() -> None:
    """Frames hold no numbers, so a digit that no span covers would be a slot that was missed."""
    for row in generate(2000, np.random.default_rng(2)):
        covered = {at for span in row.spans for at in range(span.start, span.end)}
        assert not [at for at, letter in enumerate(row.text) if letter.isdigit() and at not in covered], row.text


def test_no_frame_stands_in_both_pools() -> None:
    book = tomllib.loads(files("sidelight.system.data").joinpath("messages.toml").read_text(encoding="utf-8"))
    tables = [book["openings"], book["closings"], *book["topics"].values(), *book["intents"].values()]
    tables += [intent["denials"] for intent in book["intents"].values()]
    victim, auxiliary = ([frame for table in tables for frame in table[side]] for side in ("victim", "auxiliary"))
    assert not set(victim) & set(auxiliary)
    assert len(victim) == len(set(victim))
    assert all(len(table["victim"]) >= 10 and len(table["auxiliary"]) >= 5 for table in book["intents"].values())


def test_what_the_pools_say_is_disjoint_once_the_slots_are_emptied() -> None:
    generator = np.random.default_rng(3)
    skeletons: dict[str, set[str]] = {"victim": set(), "auxiliary": set()}
    for side, seen in skeletons.items():
        seen.update(message(intent, side, generator).group for intent in intents() for _ in range(60))
    assert not skeletons["victim"] & skeletons["auxiliary"]
    assert len(skeletons["victim"]) > 800


@pytest.mark.parametrize("seed", [11, 12])
def test_a_bag_of_words_classifier_reaches_75_to_92_percent(seed: int) -> None:
    data = load("messages", np.random.default_rng(seed))
    parts = split(data, Sizes(1200, 1000, 1500, 1000), np.random.default_rng(seed + 1))
    assert 0.75 <= accuracy(parts.victim_train, parts.victim_test) <= 0.92
    assert 0.40 <= accuracy(parts.auxiliary, parts.victim_test) <= 0.75


def accuracy(train: tuple[Sample, ...], test: tuple[Sample, ...]) -> float:
    """Of logistic regression on TF-IDF weighted words, with the library's settings."""
    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    classifier.fit([sample.text for sample in train], [sample.label for sample in train])
    return float(classifier.score([sample.text for sample in test], [sample.label for sample in test]))
