"""A report of 500 cells stays small enough to be sent by mail; that it opens in time is a slow proof."""

from __future__ import annotations

from pathlib import Path

from sidelight.reports.formats.html import html
from sidelight.reports.proofs.many import repeated
from sidelight.reports.stored.results import read_audit


def test_500_cells_stay_under_5_mb(full: Path) -> None:
    audit = repeated(read_audit(full), 500)
    assert len({row.cell for row in audit.rows}) == 500
    page = html(audit)
    assert page.count("<tr") > 500
    assert len(page.encode("utf-8")) < 5_000_000
