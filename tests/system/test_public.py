"""Public knowledge: what is there, and its folder."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sidelight.system.errors import UnknownName, UsageError
from sidelight.system.public import Example, Public, Query, load_public

PUBLIC = Public(
    facts={"selector": "last", "layers": [1, 2], "scale": 8.0},
    labels=("card lost", "Überweisung"),
    backbone="sidelight-tiny",
    head={"weight": torch.arange(6.0).view(2, 3)},
    auxiliary=(Example("my card\u2028is gone", "card lost"), Example("", "Überweisung")),
    candidates=("c0", "c1"),
    queries=(Query("q0", "where is it?"),),
    targets=("0" * 16,),
)


def test_a_saved_folder_comes_back_equal(tmp_path: Path) -> None:
    PUBLIC.save(tmp_path / "public")
    read = load_public(tmp_path / "public")
    assert replace(read, head=None) == replace(PUBLIC, head=None)
    assert read.head is not None
    assert read.head["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_what_the_threat_model_withholds_stays_withheld(tmp_path: Path) -> None:
    bare = Public({}, ("a", "b"))
    bare.save(tmp_path / "public")
    assert load_public(tmp_path / "public") == bare
    assert not (tmp_path / "public" / "head.safetensors").exists()


@pytest.mark.parametrize(
    ("absent", "item"),
    [
        ({"backbone": None}, "backbone"),
        ({"head": None}, "head"),
        ({"auxiliary": ()}, "auxiliary"),
        ({"candidates": ()}, "candidates"),
        ({"queries": ()}, "queries"),
    ],
)
def test_items_name_what_is_there(absent: dict[str, object], item: str) -> None:
    assert PUBLIC.items == {"backbone", "head", "auxiliary", "candidates", "queries"}
    assert PUBLIC.items - replace(PUBLIC, **absent).items == {item}  # type: ignore[arg-type]


def test_of_public_knowledge_only_what_is_named_and_the_class_names_stay() -> None:
    only = PUBLIC.only(frozenset({"backbone", "queries"}), frozenset({"layers", "absent"}))
    assert only == Public({"layers": [1, 2]}, PUBLIC.labels, backbone=PUBLIC.backbone, queries=PUBLIC.queries)
    assert PUBLIC.only(frozenset(), frozenset()) == Public({}, PUBLIC.labels)
    with pytest.raises(UnknownName, match="unknown item of public knowledge 'quries'; did you mean 'queries'"):
        PUBLIC.only(frozenset({"quries"}), frozenset())


def test_a_folder_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    PUBLIC.save(tmp_path / "public")
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "public").iterdir()} == {0o600}


def test_a_missing_folder_and_a_number_that_json_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"public\.json is missing"):
        load_public(tmp_path / "absent")
    with pytest.raises(ValueError, match="JSON"):
        replace(PUBLIC, facts={"scale": float("nan")}).save(tmp_path / "public")
    assert not (tmp_path / "public" / "public.json").exists()


def test_a_query_stores_no_label(tmp_path: Path) -> None:
    PUBLIC.save(tmp_path / "public")
    (line,) = (tmp_path / "public" / "queries.jsonl").read_text().splitlines()
    assert json.loads(line) == {"id": "q0", "text": "where is it?"}
