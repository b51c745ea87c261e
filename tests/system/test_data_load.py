"""Data by name, file, folder or hub id, and every way in which they may be wrong."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pytest

from sidelight.system.data import Dataset, Span, load, refuse_trained_on
from sidelight.system.data.trained_on import TRAINED_ON
from sidelight.system.errors import UnknownName, UsageError

GOOD = [{"text": f"message number {word}", "label": at % 2} for at, word in enumerate(("one", "two", "three", "four"))]


def loaded(reference: Path | str, **limits: int) -> Dataset:
    return load(str(reference), np.random.default_rng(0), **limits)


def jsonl(folder: Path, *records: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_jsonl_file_is_read_with_numbers_as_labels_and_spans_where_present(tmp_path: Path) -> None:
    spans = [{"start": 3, "end": 6, "type": "NAME", "value": "Ann"}]
    data = loaded(path := jsonl(tmp_path, *GOOD, {"text": "Hi Ann", "label": "2", "spans": spans}))
    assert data.labels == ("0", "1", "2")
    assert data.rows[-1].spans == (Span(3, 6, "NAME"),)
    assert [row.text for row in data.rows[:4]] == [record["text"] for record in GOOD]
    assert (data.source_path, data.notices) == (path, ())


def test_a_csv_file_is_read_with_quoted_commas_and_line_ends(tmp_path: Path) -> None:
    data = loaded(written(tmp_path, "rows.csv", '\ufefflabel,text,other\na,"one, two\nthree",x\nb,four,y\n\n'))
    assert [(row.text, row.label) for row in data.rows] == [("one, two\nthree", "a"), ("four", "b")]


def test_the_digest_follows_the_rows_and_not_the_file(tmp_path: Path) -> None:
    first = loaded(jsonl(tmp_path, *GOOD))
    same = loaded(written(tmp_path, "same.csv", "text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in GOOD)))
    other = loaded(jsonl(tmp_path, *GOOD, {"text": "more", "label": 1}))
    assert first.digest == same.digest != other.digest
    assert len(first.digest) == 16


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "a", "label": "x"}\n{"label": "y"}\n', "row 2: no 'text'"),
        ('{"text": "a", "label": "x"}\n\n{"text": "b"}\n', "row 3: no 'label'"),
        ('{"text": "a", "label": "x"}\n{"text": "b", "label": \n', "row 2: malformed JSON"),
        ('["a", "x"]\n', "row 1: a JSON list"),
        ('{"text": null, "label": "x"}\n', "row 1: text is null"),
        ('{"text": NaN, "label": "x"}\n', "row 1: text is NaN"),
        ('{"text": 7, "label": "x"}\n', "row 1: text is of type int"),
        ('{"text": " ", "label": "x"}\n', "row 1: text is empty"),
        ('{"text": "a", "label": null}\n', "row 1: label is null"),
        ('{"text": "a", "label": NaN}\n', "row 1: label is NaN"),
        ('{"text": "a", "label": ["x"]}\n', "row 1: label is of type list"),
        ('{"text": "a", "label": ""}\n', "row 1: label is empty"),
        ('{"text": "\\ud800", "label": "x"}\n', "row 1: text holds half of a surrogate pair"),
        ('{"text": "a", "label": "x", "spans": [{"start": 0, "end": 2, "type": "N"}]}\n', "row 1: span .* end <= 1"),
        ('{"text": "a", "label": "x", "spans": "0-1"}\n', "row 1: spans is of type str"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n', "all 2 rows have label 'x'"),
        (b'{"text": "a", "label": "x"}\n{"text": "\xff", "label": "y"}\n', "row 2: byte 0xff is not UTF-8"),
    ],
)
def test_a_wrong_jsonl_file_is_refused_with_file_and_row(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(UsageError, match=rf"rows\.jsonl.* {words}|rows\.jsonl:? {words}"):
        loaded(written(tmp_path, "rows.jsonl", content))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("text,label\n", "is empty"),
        ("hello there,greeting\nbye,farewell\n", "row 1: the header is .*hello there.* must name columns"),
        ("text,intent\na,b\n", "row 1: the header is .*intent"),
        ('text,label\n"two\nlines",x\nlone\n', "row 4: no 'label'"),
        ("text,label\na,x\n,y\n", "row 3: text is empty"),
        ("text,label\na,x\nNaN,y\n", "row 3: text is null"),
        ("text,label\na,x\nb,null\n", "row 3: label is null"),
        ("text,label\na,x\nb,c,y\n", "row 3: 3 cells under 2 columns"),
        ('text,label\na,x\n"b"c,y\n', "row 3: malformed CSV"),
        (b"text,label\na,x\ncaf\xe9,y\n", "row 3: byte 0xe9 is not UTF-8"),
        ("text,label\na,x\nb,x\n", "all 2 rows have label 'x'"),
    ],
)
def test_a_wrong_csv_file_is_refused_with_file_and_row(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(UsageError, match=rf"rows\.csv:? {words}"):
        loaded(written(tmp_path, "rows.csv", content))


def test_a_file_that_does_not_exist_or_has_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.jsonl does not exist"):
        loaded(tmp_path / "absent.jsonl")
    with pytest.raises(UsageError, match=r"must end in \.jsonl or \.csv"):
        loaded(written(tmp_path, "rows.tsv", "text\tlabel\n"))


def test_texts_of_one_token_and_of_ten_thousand_are_accepted_and_long_ones_cut_with_a_notice(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 4, "type": "A"}, {"start": 3998, "end": 4003, "type": "B"}]
    long = {"text": "word " * 10_000, "label": "x", "spans": spans}
    data = loaded(jsonl(tmp_path, {"text": "a", "label": "y"}, long))
    assert [len(row.text) for row in data.rows] == [1, 4000]
    assert data.rows[1].spans == (Span(0, 4, "A"),)
    assert data.notices == ("1 of 2 texts are longer than 4,000 characters and were cut there.",)


def test_duplicates_are_noticed(tmp_path: Path) -> None:
    data = loaded(jsonl(tmp_path, *GOOD, {"text": "Message  Number ONE", "label": 1}))
    assert [notice.split(" ")[:4] for notice in data.notices] == [["1", "of", "5", "texts"]]


def test_max_classes_keeps_the_most_frequent_labels_then_the_first_by_name(tmp_path: Path) -> None:
    counts = {"d": 5, "c": 2, "b": 2, "a": 1}
    records = [{"text": f"{label}{at}", "label": label} for label, count in counts.items() for at in range(count)]
    data = loaded(jsonl(tmp_path, *records), max_classes=2)
    assert data.labels == ("b", "d")
    assert any("2 most frequent of 4 labels" in notice for notice in data.notices)


def test_max_rows_draws_by_label_and_repeats_with_the_generator(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *({"text": f"t{at}", "label": "x" if at % 4 else "y"} for at in range(100)))
    data = loaded(path, max_rows=20)
    assert sorted(row.label for row in data.rows) == ["x"] * 15 + ["y"] * 5
    assert data == loaded(path, max_rows=20)
    assert data.rows != load(str(path), np.random.default_rng(1), max_rows=20).rows


@pytest.mark.parametrize("limits", [{"max_classes": 1}, {"max_rows": 0}])
def test_limits_that_leave_nothing_to_tell_apart_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be at least 2"):
        loaded("messages", **limits)


def test_messages_grow_with_max_rows_and_have_no_source_file() -> None:
    data = loaded("messages", max_rows=7000)
    assert (len(data.rows), data.source_path, data.notices) == (7000, None, ())


@pytest.mark.parametrize("name", ["mesages", "Messages", "message", ""])
def test_a_misspelt_name_is_answered_with_the_names_that_are_known(name: str) -> None:
    with pytest.raises(UnknownName, match="messages"):
        loaded(name)


def test_a_local_datasets_folder_is_read_with_the_names_of_its_classes(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    table = {"text": ["one", "two", "three"], "label": [0, 1, 0]}
    datasets.Dataset.from_dict(table, features=features).to_parquet(str(tmp_path / "train.parquet"))
    data = loaded(tmp_path)
    assert [(row.text, row.label) for row in data.rows] == [("one", "ham"), ("two", "spam"), ("three", "ham")]
    assert data.source_path == tmp_path


def test_a_local_folder_leaves_no_copy_in_the_cache_of_datasets(tmp_path: Path) -> None:
    jsonl(tmp_path, *({"text": "cached nowhere " + str(r["text"]), "label": r["label"]} for r in GOOD))
    loaded(tmp_path)
    cached = [path for path in Path(datasets.config.HF_DATASETS_CACHE).rglob("*") if path.is_file()]
    assert not [path for path in cached if b"cached nowhere" in path.read_bytes()]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"sentence": "a", "label": 1}, "no column 'text'.*sentence"),
        ({"text": "a", "intent": 1}, "no column 'label'.*intent"),
        ({"text": None, "label": 1}, "row 1: text is null"),
    ],
)
def test_a_local_folder_without_text_or_label_is_refused(tmp_path: Path, record: dict[str, Any], words: str) -> None:
    jsonl(tmp_path, record)
    with pytest.raises(UsageError, match=words):
        loaded(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be loaded"):
        loaded(tmp_path)


@pytest.mark.parametrize("reference", ["PolyAI/banking77", "imdb"])
def test_one_sentence_says_at_once_that_the_hub_is_out_of_reach(reference: str) -> None:
    begin = time.monotonic()
    with pytest.raises(UsageError, match=r"hub is out of reach") as raised:
        loaded(reference)
    assert time.monotonic() - begin < 20
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("error", [ConnectionError("no route"), TimeoutError("slow")])
def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    calls = []

    def unanswered(self: object, repo_id: str, **settings: Any) -> None:
        calls.append(repo_id)
        raise error

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unanswered)
    with pytest.raises(UsageError, match=rf"out of reach \({type(error).__name__}\).*use --data messages"):
        loaded("owner/name")
    assert calls == ["owner/name"]


def test_hub_data_are_loaded_by_their_train_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub's answer is replaced by a local folder; everything behind it is the real code."""
    jsonl(tmp_path, *GOOD)
    real = datasets.load_dataset
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, repo_id, **settings: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda reference, **settings: real(str(tmp_path), **settings))
    data = loaded("owner/name")
    assert [row.label for row in data.rows] == ["0", "1", "0", "1"]
    assert data.name == "owner/name"
    assert data.source_path is not None
    assert data.source_path.is_dir()


def test_files_that_the_default_backbone_was_trained_on_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = jsonl(tmp_path, *GOOD)
    refuse_trained_on(path)
    monkeypatch.setitem(TRAINED_ON, hashlib.sha256(path.read_bytes()).hexdigest(), "Made train.jsonl")
    with pytest.raises(UsageError, match=r"is Made train\.jsonl, which sidelight-tiny was trained on"):
        refuse_trained_on(path)
