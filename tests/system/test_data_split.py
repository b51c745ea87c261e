"""One split of the data: sizes, sides, labels, ids and near-duplicate groups."""

from __future__ import annotations

import difflib
import re
from collections import Counter

import numpy as np
import pytest

from sidelight.system.data import Dataset, Row, Sample, Sizes, Span, Split, joined, load, split
from sidelight.system.data.duplicates import near_duplicate_groups
from sidelight.system.data.rows import digest, labels_of
from sidelight.system.errors import UsageError

PARTS = ("victim_train", "victim_test", "auxiliary", "non_member")
NOUNS = "apple river candle engine mountain violin carpet window pencil garden rocket bottle".split(" ")
VERBS = "paints breaks carries forgets washes measures follows hides sells burns repairs lifts".split(" ")


def dataset(rows: list[Row]) -> Dataset:
    return Dataset("made", digest(rows), tuple(rows), labels_of(rows), (), None)


def varied(count: int, labels: int = 4, pool: str = "") -> list[Row]:
    """Rows that are no near-duplicates of each other: random letters in random words."""
    generator = np.random.default_rng(count + len(pool))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return [
        Row(" ".join("".join(generator.choice(letters, 6)) for _ in range(5)), f"label{at % labels}", pool=pool)
        for at in range(count)
    ]


def parts_of(made: Split) -> dict[str, tuple[Sample, ...]]:
    return {part: getattr(made, part) for part in PARTS}


def part_of_text(made: Split) -> dict[str, str]:
    return {sample.text: part for part, samples in parts_of(made).items() for sample in samples}


def test_parts_have_the_sizes_asked_for_and_share_no_row() -> None:
    made = split(dataset(varied(200)), Sizes(60, 40, 50, 30), np.random.default_rng(0))
    assert [len(samples) for samples in parts_of(made).values()] == [60, 40, 50, 30]
    assert len(part_of_text(made)) == 180


def test_every_label_keeps_its_share_in_every_part() -> None:
    made = split(dataset(varied(400)), Sizes(100, 80, 80, 40), np.random.default_rng(0))
    for samples in parts_of(made).values():
        assert set(Counter(sample.label for sample in samples).values()) == {len(samples) // 4}


def test_a_label_with_few_rows_is_in_victim_train() -> None:
    rows = [*varied(300), Row("the only one of its kind here", "rare")]
    made = split(dataset(rows), Sizes(40, 40, 40, 40), np.random.default_rng(0))
    assert "rare" in {sample.label for sample in made.victim_train}
    assert made.labels == ("label0", "label1", "label2", "label3", "rare")


def test_ids_are_distinct_hexadecimal_and_depend_on_the_generator_only() -> None:
    data = dataset(varied(100))
    first, again, other = (split(data, Sizes(40, 20, 20, 20), np.random.default_rng(seed)) for seed in (1, 1, 2))
    ids = [sample.id for samples in parts_of(first).values() for sample in samples]
    assert first == again
    assert len(set(ids)) == 100
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in ids)
    assert not set(ids) & {sample.id for sample in other.victim_train}


def test_rows_with_a_pool_go_to_their_side_only() -> None:
    rows = varied(120, pool="victim") + varied(60, pool="auxiliary") + varied(20)
    side = {row.text: row.pool for row in rows}
    made = split(dataset(rows), Sizes(50, 40, 60, 20), np.random.default_rng(0))
    for part, samples in parts_of(made).items():
        wrong = "victim" if part == "auxiliary" else "auxiliary"
        assert wrong not in {side[sample.text] for sample in samples}


def test_rows_of_one_group_are_never_parted() -> None:
    rows = [Row(row.text, row.label, group=f"group{at % 40}") for at, row in enumerate(varied(240))]
    group = {row.text: row.group for row in rows}
    made = split(dataset(rows), Sizes(90, 60, 50, 30), np.random.default_rng(0))
    seen = {(group[text], part) for text, part in part_of_text(made).items()}
    assert len(seen) == len({name for name, _ in seen})


def test_texts_that_differ_by_case_spaces_or_digits_are_one_group() -> None:
    texts = ["Pay 120 to Ann now", "pay  999 to ann NOW", "Where is the river bank"]
    groups = near_duplicate_groups([Row(text, "a") for text in texts])
    assert groups[0] == groups[1] != groups[2]


def test_texts_of_fewer_than_four_characters_are_accepted() -> None:
    groups = near_duplicate_groups([Row(text, "a") for text in ("a", "b", "A", "?", "1", "2")])
    assert groups[0] == groups[2] != groups[1]
    assert groups[4] == groups[5] != groups[3]


def test_planted_near_duplicates_never_straddle_by_an_independent_measure() -> None:
    """The parts are compared with the edit-based ratio of `difflib`, which the split does not use."""
    generator = np.random.default_rng(7)
    rows = []
    for at in range(60):
        words = [*generator.choice(NOUNS, 5, replace=False), *generator.choice(VERBS, 5, replace=False)]
        text = " ".join(map(str, generator.permutation(words)))
        rows += [
            Row(variant, f"label{at % 2}") for variant in (text, text + "s", text.replace("a", "A", 1), text + "!")
        ]
    placed = list(part_of_text(split(dataset(rows), Sizes(80, 60, 60, 40), generator)).items())
    for at, (text, part) in enumerate(placed):
        elsewhere = [other.lower() for other, of in placed[at + 1 :] if of != part]
        assert difflib.get_close_matches(text.lower(), elsewhere, cutoff=0.95) == []


def test_no_skeleton_of_messages_straddles_the_victims_parts() -> None:
    data = load("messages", np.random.default_rng(0), max_rows=1500)
    group = {row.text: row.group for row in data.rows}
    made = split(data, Sizes(400, 300, 300, 200), np.random.default_rng(1))
    seen = {(group[text], part) for text, part in part_of_text(made).items()}
    assert len(seen) == len({name for name, _ in seen})
    assert [len(samples) for samples in parts_of(made).values()] == [400, 300, 300, 200]
    assert {sample.label for sample in made.victim_test} == set(made.labels)


def test_an_auxiliary_row_that_nearly_repeats_a_victim_row_is_left_out() -> None:
    rows = varied(80, pool="victim") + varied(40, pool="auxiliary")
    rows.append(Row(rows[0].text.upper() + "!", rows[0].label, pool="auxiliary"))
    made = split(dataset(rows), Sizes(40, 20, 40, 20), np.random.default_rng(0))
    assert rows[-1].text not in part_of_text(made)


def test_many_small_helpings_of_groups_are_dealt_before_many_rows_of_one() -> None:
    rows = [Row(row.text, row.label, group=f"group{at % 100}") for at, row in enumerate(varied(600))]
    group = {row.text: row.group for row in rows}
    made = split(dataset(rows), Sizes(40, 20, 20, 20), np.random.default_rng(0))
    assert len({group[text] for text in part_of_text(made)}) == 100


def test_a_label_that_stands_only_beside_near_duplicates_of_another_is_kept() -> None:
    twins = [Row(f"the same words here {at}", "label0") for at in range(20)]
    rows = [*twins, Row("The same words here", "rare"), Row("the same words here 77", "rare"), *varied(300)]
    made = split(dataset(rows), Sizes(40, 20, 20, 20), np.random.default_rng(0))
    assert "rare" in {sample.label for sample in made.victim_train}


def test_all_parts_shrink_in_proportion_where_the_rows_do_not_suffice() -> None:
    made = split(dataset(varied(100)), Sizes(80, 40, 60, 20), np.random.default_rng(0))
    assert [len(samples) for samples in parts_of(made).values()] == [40, 20, 30, 10]


@pytest.mark.parametrize(
    ("rows", "sizes", "words"),
    [
        (varied(12), Sizes(100, 100, 100, 100), "12 rows leave 3 for victim_train"),
        (varied(200), Sizes(100, 5, 50, 20), "leave 5 for victim_test"),
        (varied(80, pool="auxiliary"), Sizes(20, 20, 20, 0), "has no row that the victim may train on"),
    ],
)
def test_too_few_rows_for_the_victim_are_refused(rows: list[Row], sizes: Sizes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        split(dataset(rows), sizes, np.random.default_rng(0))


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(UsageError, match="auxiliary is -1"):
        Sizes(1, 1, -1, 1)


# --- joined ------------------------------------------------------------------------------------------------------


def parts_with(*train: Sample) -> Split:
    other = (Sample("t", "seven", "a", ()), Sample("u", "eight", "a", ()))
    return Split(train, other, (), (), tuple(sorted({sample.label for sample in train})))


def test_samples_of_one_class_and_part_are_put_end_to_end_with_their_spans() -> None:
    name = (Span(0, 3, "NAME"),)
    rows = [
        ("Ann went", "a", name),
        ("by bus", "b", ()),
        ("Bob came", "a", name),
        ("too late", "b", ()),
        ("x", "b", ()),
    ]
    parts = parts_with(*(Sample(str(at), text, label, spans) for at, (text, label, spans) in enumerate(rows)))
    made = joined(parts, 2)
    first, second = made.victim_train
    assert (first.id, first.text, first.label) == ("0", "Ann went Bob came", "a")
    assert [first.text[span.start : span.end] for span in first.spans] == ["Ann", "Bob"]
    assert (second.text, second.label) == ("by bus too late", "b")
    assert [sample.text for sample in made.victim_test] == ["seven eight"]


def test_joining_more_than_a_class_has_is_refused() -> None:
    with pytest.raises(
        UsageError, match="together is 2 and the victim has fewer rows of label 'b'; give a smaller one"
    ):
        joined(parts_with(*(Sample(str(at), "x", label, ()) for at, label in enumerate("aab"))), 2)
