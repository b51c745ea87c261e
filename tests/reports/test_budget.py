"""A budget that was held against an audit stands on the first screen of its report, in every format that is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidelight.reports.stored.redact import redacted
from sidelight.reports.stored.results import read_audit
from sidelight.reports.written import FORMATS

BREACH = {
    "limit": 1, "bound": "max_advantage", "at": 0.05, "outcome": "exceeded", "protocol": "pae",
    "label": "pae (difference=probability)", "adversary": "server", "known_labels": 0, "goal": "labels",
    "attack": "sign", "metric": "accuracy", "victim": None, "value": 0.995, "low": 0.965, "high": 1.0, "reason": None,
}  # fmt: skip
BUDGET = {
    "schema": 1, "outcome": "over budget", "kept": False, "limits": [], "breaches": [BREACH], "unaudited": [],
    "verdict": "over budget: 1 limit, 3 checks, of which 1 broke a limit and 2 did not",
    "notes": ["limit 1: not exposed: plaintext on labels in pae"],
}  # fmt: skip
SAID = (
    "limit 1: pae (difference=probability), sign, server, labels, accuracy: exceeded 0.995 [0.965, 1.000], "
    "max advantage 0.05"
)


@pytest.fixture
def broken(out: Path) -> Path:
    (out / "budget.json").write_text(json.dumps(BUDGET), encoding="utf-8")
    return out


@pytest.mark.parametrize("name", ["html", "md"])
def test_what_broke_a_limit_is_named_before_the_overview(broken: Path, name: str) -> None:
    text = FORMATS[name](read_audit(broken)).replace("\\", "")
    assert SAID in text
    assert text.index("Leakage budget") < text.index("Overview")


@pytest.mark.parametrize("name", ["html", "md"])
def test_a_budget_that_was_kept_is_not_called_safe(broken: Path, name: str) -> None:
    kept = BUDGET | {"kept": True, "breaches": [], "verdict": "within budget: 1 limit, 3 checks"}
    (broken / "budget.json").write_text(json.dumps(kept), encoding="utf-8")
    text = FORMATS[name](read_audit(broken))
    assert "Leakage budget: kept" in text
    assert "Within budget does not mean safe." in text


def test_without_a_budget_none_is_told_of(out: Path) -> None:
    assert "Leakage budget" not in FORMATS["html"](read_audit(out))


def test_the_report_as_data_holds_it_and_redaction_keeps_it(broken: Path) -> None:
    told = json.loads(FORMATS["json"](redacted(read_audit(broken))))["budget"]
    assert (told["kept"], told["breaches"][0]["attack"]) == (False, "sign")
