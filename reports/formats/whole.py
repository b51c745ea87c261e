"""report.json: the whole report as data, in a form that is published as report.schema.json.

    python -m sidelight.reports.formats.whole > reports/formats/report.schema.json

writes the schema again after a change of the records. A field is never renamed or taken away without a new number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..stored.records import Example, Group, Head, Held, Run
from ..stored.results import Audit
from ..stored.rows import Curve, Row

Form = Literal["sidelight-report/1"]
FORM: Form = "sidelight-report/1"
SCHEMA = "report.schema.json"


class Report(BaseModel):
    """One leakage report. Numbers are as stored: shares from 0 to 1, bytes, seconds; null where there is none."""

    model_config = ConfigDict(frozen=True)

    form: Form
    redacted: bool = Field(description="Whether texts, labels of rows and paths were left out.")
    audit: Head
    budget: Held | None = Field(description="The last leakage budget that was held against the audit.")
    command: str = Field(description="What repeats the whole audit, given an --out.")
    groups: tuple[Group, ...] = Field(description="The runs of each protocol with its settings, one for each victim.")
    runs: tuple[Run, ...]
    rows: tuple[Row, ...] = Field(description="One for each metric of each attack on each group of runs.")
    curves: tuple[Curve, ...]
    examples: dict[str, tuple[Example, ...]] = Field(description="By stored cell: private; none where redacted.")


def as_json(audit: Audit) -> str:
    """The report as one object of JSON."""
    report = Report(
        form=FORM,
        redacted=audit.redacted,
        audit=audit.head,
        budget=audit.budget,
        command=audit.command,
        groups=audit.groups,
        runs=tuple(audit.runs.values()),
        rows=audit.rows,
        curves=audit.curves,
        examples=dict(audit.examples),
    )
    return json.dumps(report.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False) + "\n"


def made_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of report.json, made from the records."""
    made = Report.model_json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": FORM, **made}


def published_schema() -> Mapping[str, Any]:
    """The schema as it is published."""
    found: Mapping[str, Any] = json.loads(files(__package__).joinpath(SCHEMA).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    print(json.dumps(made_schema(), indent=1, ensure_ascii=False))
