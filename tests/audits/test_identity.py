"""A run's and a cell's key: the same for the same work, another for anything that can change its numbers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidelight.attacks import ATTACKS
from sidelight.audits.cells.cell import Cell, finished
from sidelight.audits.digest import digest
from sidelight.audits.planning import identity, naming
from sidelight.audits.planning.identity import RunIdentity, cell_identity, cell_key
from sidelight.audits.planning.naming import Inputs
from sidelight.audits.suites.suite import RunPlan, Suite
from sidelight.system import files
from sidelight.system.backbone import load_backbone
from sidelight.system.errors import SidelightError
from sidelight.system.settings import named

from ..contracts.micro import Micro

MODULE = "sidelight.attacks.labels.sign"
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
        {"labels": "reassigned"},
        {"models": ("4711",)},
        {"plug_ins": {"protocol pae": "0123"}},
        {"defences": {"rotate": {"revealed": False, "per_sample": False}}},
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


def test_another_model_under_the_name_that_the_settings_give_has_other_keys(
    micro: Micro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    suite = Suite(runs=[RunPlan(protocol="fedmobillm", settings={"backbones": ["", str(other)]})])
    keys = set()
    for family in ("opt", "llama"):
        monkeypatch.setattr(naming, "other_backbone", load_backbone)  # as another process would read it
        shutil.copytree(micro.folders[family], other, dirs_exist_ok=True)
        keys.add(naming.name_run(Inputs(suite, "01", {suite.data: "02"}, "a seed"), suite.runs[0], 0).key)
    assert len(keys) == 2


def test_a_relative_counts_by_what_it_is_and_not_by_where_it_lies(
    micro: Micro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named_at(place: Path, family: str) -> RunIdentity:
        monkeypatch.setattr(naming, "other_backbone", load_backbone)  # as another process would read it
        shutil.copytree(micro.folders[family], place, dirs_exist_ok=True)
        threat = {"backbone": "private", "relative": str(place)}
        suite = Suite(runs=[RunPlan(protocol="pae", threat=threat)])
        return naming.name_run(Inputs(suite, "01", {suite.data: "02"}, "a seed"), suite.runs[0], 0)

    here, there = (named_at(tmp_path / place / "kin", "opt") for place in ("here", "there"))
    assert here.key == there.key
    assert str(tmp_path) not in json.dumps(here.own)
    assert here.own["threat"]["relative"] == "kin"
    assert named_at(tmp_path / "here" / "kin", "llama").key != here.key


def test_the_default_only_names_the_row() -> None:
    assert replace(IDENTITY, default=SETTINGS).key == IDENTITY.key
    assert IDENTITY.label == "pae (difference=logit)"
    assert replace(IDENTITY, default=SETTINGS).label == "pae"


def test_a_key_names_protocol_and_victim_and_not_the_seed() -> None:
    assert IDENTITY.key.startswith("pae-0-")
    assert IDENTITY.seed not in IDENTITY.key


def cell(run: str = "pae-0-aa", repeat: int = 0, **settings: Any) -> str:
    return cell_key(cell_identity(run, "sign", MODULE, settings, repeat))


def test_cells_differ_by_run_attack_settings_and_attackers_seed() -> None:
    keys = {cell(), cell("pae-0-ab"), cell(round=0), cell(round=1), cell(repeat=1)}
    assert len(keys) == 5
    assert cell(a=1, b=2) == cell(b=2, a=1)
    assert cell().startswith("pae-0-aa-sign-")


def test_metrics_of_other_packages_count_by_their_code() -> None:
    others: tuple[dict[str, str], ...] = ({}, {"near": "01"}, {"near": "02"}, {"far": "01"})
    keys = {cell_key(cell_identity("pae-0-aa", "sign", MODULE, {}, 0, metrics)) for metrics in others}
    assert (len(keys), cell() in keys) == (4, True)


def test_an_attack_whose_code_changed_has_other_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell()
    monkeypatch.setattr(identity, "code_version", lambda module: "0123")
    assert cell() != before


def test_a_planted_key_that_forgets_the_settings_is_caught_by_the_stored_identity(tmp_path: Path) -> None:
    stored, other = (cell_identity("pae-0-aa", "sign", MODULE, {"round": number}, 0) for number in (0, 1))
    folder = tmp_path / "forgetful"
    folder.mkdir()
    files.write_json(folder / "result.json", {"identity": stored, "fields": {"status": "scored"}, "metrics": []})
    kept = Cell("forgetful", Path("runs/pae-0-aa"), ATTACKS["sign"](), stored)
    assert finished(tmp_path, kept) is not None
    with pytest.raises(SidelightError, match="made with other settings than its name stands for"):
        finished(tmp_path, replace(kept, identity=other))


def test_the_runs_of_two_victims_share_their_group_and_nothing_else() -> None:
    other = replace(IDENTITY, victim=1, seed="89ac")
    assert other.group == IDENTITY.group
    assert other.key != IDENTITY.key
    assert replace(IDENTITY, labels="reassigned").group != IDENTITY.group


def test_what_differs_from_the_suite_is_part_of_the_label() -> None:
    varied = replace(IDENTITY, default=SETTINGS, varied={"data.max_classes": 5}, labels="reassigned")
    assert varied.label == "pae (data.max_classes=5, labels=reassigned)"


def test_a_digest_is_of_canonical_json_and_refuses_what_json_cannot_hold() -> None:
    assert digest({"b": 1, "a": [1.0, "x"]}) == digest({"a": [1.0, "x"], "b": 1})
    assert len(digest(None)) == 12
    with pytest.raises(ValueError, match="JSON"):
        digest({"a": float("nan")})


def test_a_row_is_called_by_its_name_and_what_differs_in_order() -> None:
    assert named("pae", {}) == "pae"
    assert named("pae", {"side.epochs": 2, "difference": "logit"}) == "pae (difference=logit, side.epochs=2)"
