"""A report of 500 cells stays small enough to be sent by mail; that it opens in time is a slow proof."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sidelight.reports.formats.html import html
from sidelight.reports.proofs.many import repeated
from sidelight.reports.stored.results import Audit, read_audit


def in_table(audit: Audit) -> set[str]:
    return {row.cell for row in audit.rows if row.role == "row"}


def test_500_cells_with_their_curves_and_victims_stay_under_5_mb(full: Path) -> None:
    audit = read_audit(full)
    large = repeated(audit, 500)
    rounds = -(-500 // len(in_table(audit)))
    assert len(in_table(large)) == 500
    page = html(large)
    drawn = html(audit).count('aria-labelledby="curve-')
    assert drawn > 0
    assert page.count('aria-labelledby="curve-') == rounds * drawn
    assert len(page.encode("utf-8")) < 5_000_000


def test_the_repeated_audit_is_its_own_table_again_and_again(victims: Callable[[int], Path]) -> None:
    audit = read_audit(victims(6))
    twice = repeated(audit, 2 * len(in_table(audit)))
    folded = html(audit).count("<summary>each of 6 victims</summary>")
    assert folded > 0
    assert html(twice).count("<summary>each of 6 victims</summary>") == 2 * folded
    assert len(repeated(audit, 1).groups) == 1
