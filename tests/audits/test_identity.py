"""A run's and a cell's key: the same for the same work, another for anything that can change its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidelight.audits import identity
from sidelight.audits.identity import RunIdentity, cell_key, digest, named

SETTINGS = {"difference": "logit", "side": {"epochs": 60, "batch": 32}}
IDENTITY = RunIdentity(
    protocol="pae",
    settings=SETTINGS,
    default={**SETTINGS, "difference": "probability"},
    threat={"adversary": "server", "backbone": "public"},
    backbone="0123",
    data="4567",
    sizes={"victim_train": 600, "texts": 60},
    victim=0,
    seed="89ab",
)


def test_the_same_run_has_the_same_key_whatever_the_order_of_its_settings() -> None:
    turned: dict[str, Any] = {name: SETTINGS[name] for name in reversed(SETTINGS)}
    assert replace(IDENTITY, settings=turned).key == replace(IDENTITY).key


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "mobillm"},
        {"settings": {**SETTINGS, "difference": "probability"}},
        {"settings": {**SETTINGS, "side": {"epochs": 61, "batch": 32}}},
        {"threat": {"adversary": "server", "backbone": "private"}},
        {"backbone": "0124"},
        {"data": "4568"},
        {"sizes": {"victim_train": 601, "texts": 60}},
        {"sizes": {"victim_train": 600, "texts": 61}},
        {"victim": 1},
        {"seed": "89ac"},
    ],
)
def test_whatever_changes_the_numbers_changes_the_key(change: dict[str, Any]) -> None:
    assert replace(IDENTITY, **change).key != IDENTITY.key


def test_another_version_of_the_code_or_of_the_schema_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = IDENTITY.key
    with monkeypatch.context() as patch:
        patch.setattr(identity, "version", lambda name: "999")
        assert IDENTITY.key != before
    monkeypatch.setattr(identity, "SCHEMA", 999)
    assert IDENTITY.key != before


def test_the_default_only_names_the_row() -> None:
    assert replace(IDENTITY, default=SETTINGS).key == IDENTITY.key
    assert IDENTITY.label == "pae (difference=logit)"
    assert replace(IDENTITY, default=SETTINGS).label == "pae"


def test_a_key_names_protocol_and_victim_and_not_the_seed() -> None:
    assert IDENTITY.key.startswith("pae-0-")
    assert IDENTITY.seed not in IDENTITY.key


def test_cells_differ_by_run_attack_and_settings() -> None:
    keys = {
        cell_key("pae-0-aa", "sign", {}),
        cell_key("pae-0-ab", "sign", {}),
        cell_key("pae-0-aa", "addback", {}),
        cell_key("pae-0-aa", "match", {"round": 0, "widest": 256}),
        cell_key("pae-0-aa", "match", {"round": 1, "widest": 256}),
    }
    assert len(keys) == 5
    assert cell_key("r", "match", {"a": 1, "b": 2}) == cell_key("r", "match", {"b": 2, "a": 1})


def test_a_digest_is_of_canonical_json_and_refuses_what_json_cannot_hold() -> None:
    assert digest({"b": 1, "a": [1.0, "x"]}) == digest({"a": [1.0, "x"], "b": 1})
    assert len(digest(None)) == 12
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": float("nan")})


def test_a_row_is_called_by_its_name_and_what_differs_in_order() -> None:
    assert named("pae", {}) == "pae"
    assert named("pae", {"side.epochs": 2, "difference": "logit"}) == "pae (difference=logit, side.epochs=2)"
