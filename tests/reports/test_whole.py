"""report.json keeps to its published schema, whatever an audit holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sidelight.reports.formats.whole import as_json, made_schema, published_schema
from sidelight.reports.stored.redact import redacted
from sidelight.reports.stored.results import read_audit

Build = Callable[..., Path]


def of(out: Path, redact: bool = False) -> dict[str, Any]:
    audit = read_audit(out)
    found: dict[str, Any] = json.loads(as_json(redacted(audit) if redact else audit))
    return found


def test_the_published_schema_is_the_one_that_the_records_make() -> None:
    # after a change: python -m sidelight.reports.formats.whole > reports/formats/report.schema.json
    assert published_schema() == made_schema()


@pytest.mark.parametrize("redact", [False, True])
def test_reports_keep_to_the_schema(out: Path, full: Path, redact: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(published_schema())
    for folder in (out, full):
        jsonschema.validate(of(folder, redact), published_schema())


def test_the_schema_refuses_what_is_no_report(out: Path) -> None:
    whole = of(out)
    for wrong in ({**whole, "form": "another/1"}, {**whole, "rows": [{"cell": "x"}]}, whole["rows"]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, published_schema())


def test_every_stored_row_is_there_with_its_figures(out: Path) -> None:
    stored = [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    told = of(out)["rows"]
    for mine, one in zip(told, stored, strict=True):
        for name in ("cell", "status", "metric", "value", "low", "high", "advantage", "verdict", "n", "reason"):
            assert mine[name] == one.get(name)


def test_private_examples_are_there_until_redacted(out: Path) -> None:
    assert of(out)["examples"]
    assert of(out, redact=True)["examples"] == {}
    assert of(out, redact=True)["redacted"] is True
