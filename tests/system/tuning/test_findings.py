"""What an audit found stands in the card of a model that came about in the same way, and in no other's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidelight.system.building import Recipe
from sidelight.system.errors import UsageError
from sidelight.system.tuning.findings import read_findings
from sidelight.system.tuning.order import prepared

from ...contracts.micro import Micro
from .small import SEED, Host, carried_out, order, rows_csv

ROW = {
    "run": "pae-0-aa", "label": "pae (side.epochs=40)",
    "role": "row", "primary": True, "protocol": "pae", "status": "scored", "verdict": "leaks",
    "goal": "labels", "adversary": "server", "attack": "sign", "metric": "accuracy", "value": 0.987, "low": 0.954,
    "high": 0.998, "blind_outsider": {"value": 0.123, "low": 0.1, "high": 0.15, "twin": "prior"},
    "scope": "conditional on this victim", "backbone": "sidelight-tiny a48df7f3d3dd2d4c", "data": "messages 1fb3",
}  # fmt: skip


def audit(folder: Path, identity: dict[str, Any], rows: list[dict[str, Any]]) -> Path:
    """Files as an audit writes them, with one run of such a tuning."""
    (folder / "runs" / "pae-0-aa").mkdir(parents=True)
    (folder / "audit.json").write_text(json.dumps({"created": "2026-11-22T15:38:10+00:00"}), encoding="utf-8")
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = json.dumps({"settings": identity["settings"], "identity": {"defences": identity["defences"]}})
    (folder / "runs" / "pae-0-aa" / "run.json").write_text(run, encoding="utf-8")
    return folder


@pytest.fixture
def identity(tmp_path: Path, micro: Micro) -> dict[str, Any]:
    rows_csv(tmp_path)
    return dict(prepared(order(tmp_path, micro), SEED).identity)


def test_the_card_has_a_row_for_each_attack_with_its_interval_and_the_date(
    tmp_path: Path, micro: Micro, identity: dict[str, Any]
) -> None:
    longer = {**identity, "settings": {**identity["settings"], "side": {"epochs": 40}}}
    rows = [
        ROW,
        {**ROW, "attack": "readoff", "goal": "model", "value": 1.0, "low": 0.99, "high": 1.0, "verdict": "leaks"},
        {**ROW, "status": "not_exposed", "verdict": None, "value": None},
        {**ROW, "primary": False, "attack": "elsewhere"},
        {**ROW, "role": "control", "attack": "elsewhere"},
        {**ROW, "protocol": "mobillm", "attack": "elsewhere"},
    ]
    found = audit(tmp_path / "audit", longer, rows)
    assert carried_out(replace(order(tmp_path, micro), findings=found), Host())
    card = (tmp_path / "out" / "model" / "README.md").read_text("utf-8")
    run, scope = "pae (side.epochs=40)", "conditional on this victim"
    assert [line for line in card.splitlines() if line.startswith("| pae")] == [
        f"| {run} | labels | server | `sign` | accuracy 0.987 | [0.954, 0.998], {scope} | 0.123 | leaks |",
        f"| {run} | model | server | `readoff` | accuracy 1.000 | [0.990, 1.000], {scope} | 0.123 | leaks |",
    ]
    assert "An audit of 2026-11-22 ran the same protocol" in card
    assert "1 more rows have no number" in card
    assert "elsewhere" not in card


@pytest.mark.parametrize(
    "other",
    [{"settings": {"difference": "logit"}}, {"defences": [["rotate", {"per_sample": False, "revealed": True}]]}],
    ids=["settings", "defences"],
)
def test_an_audit_of_something_else_is_refused(
    tmp_path: Path, micro: Micro, identity: dict[str, Any], other: dict[str, Any]
) -> None:
    settings = {**identity["settings"], **other.get("settings", {})}
    found = audit(tmp_path / "audit", {**identity, **other, "settings": settings}, [ROW])
    with pytest.raises(UsageError, match="scored no attack on pae with these settings and defences"):
        read_findings(found, identity)


def test_defences_in_another_order_are_others(tmp_path: Path, micro: Micro) -> None:
    rows_csv(tmp_path)
    recipes = [Recipe("pae", {}, {name: {} for name in names}) for names in (("scale", "rotate"), ("rotate", "scale"))]
    ours, other = (dict(prepared(order(tmp_path, micro, recipe), SEED).identity) for recipe in recipes)
    found = audit(tmp_path / "audit", ours, [ROW])
    assert len(read_findings(found, ours).rows) == 1
    with pytest.raises(UsageError, match="scored no attack on pae"):
        read_findings(found, other)
