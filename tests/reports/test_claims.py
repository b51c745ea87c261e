"""A claim is refuted by one leak, not audited without a score, else not refuted; it never holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidelight.reports.findings.claims import claim_tables, judgement
from sidelight.reports.findings.summarise import summarise
from sidelight.reports.stored.results import read_audit
from sidelight.reports.stored.rows import Row, Verdict


def scored(verdict: Verdict | None) -> Row:
    about = {"cell": "c", "run": "r", "group": "g", "role": "row", "protocol": "p", "label": "p", "attack": "a"}
    return Row.model_validate({**about, "status": "scored", "goal": "labels", "verdict": verdict})


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "not audited"),
        (["resists"], "not refuted"),
        (["inconclusive"], "not refuted"),
        ([None], "not refuted"),
        (["resists", "inconclusive"], "not refuted"),
        (["leaks"], "refuted"),
        (["resists", "leaks"], "refuted"),
        (["inconclusive", "resists", "leaks"], "refuted"),
    ],
)
def test_the_judgement_follows_the_verdicts(verdicts: list[Verdict | None], expected: str) -> None:
    assert judgement([scored(verdict) for verdict in verdicts]) == expected


def test_each_version_is_judged_on_each_run(out: Path) -> None:
    (table,) = claim_tables(summarise(read_audit(out)))
    assert table.versions == {"v1": ("data", "labels", "models"), "v2": ("data", "labels")}
    judged = {(c.run, c.version, c.claim): c.judgement for c in table.claims}
    assert judged == {
        ("pae (difference=probability)", "v1", "data"): "not audited",
        ("pae (difference=probability)", "v1", "labels"): "refuted",
        ("pae (difference=probability)", "v1", "models"): "not refuted",
        ("pae (difference=probability)", "v2", "data"): "not audited",
        ("pae (difference=probability)", "v2", "labels"): "refuted",
        ("pae (difference=logit)", "v1", "data"): "not audited",
        ("pae (difference=logit)", "v1", "labels"): "not refuted",
        ("pae (difference=logit)", "v1", "models"): "not audited",
        ("pae (difference=logit)", "v2", "data"): "not audited",
        ("pae (difference=logit)", "v2", "labels"): "not refuted",
    }


def test_the_evidence_is_the_attack_that_leaks_most(out: Path) -> None:
    (table,) = claim_tables(summarise(read_audit(out)))
    refuted = table.at("pae (difference=probability)", "v1", "labels")
    assert refuted is not None
    assert refuted.evidence is not None
    assert (refuted.evidence.attack, refuted.evidence.value) == ("sign", 0.997)
