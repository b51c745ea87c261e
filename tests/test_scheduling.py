"""Tests that share what is slow to make go to one process."""

from __future__ import annotations

from .scheduling import group


def test_a_file_stays_together() -> None:
    assert group("tests/audits/test_audit.py::test_a") == group("tests/audits/test_audit.py::test_b[x[1]-y]")
    assert group("tests/audits/test_audit.py::test_a") != group("tests/audits/test_kills.py::test_a")


def test_contracts_stay_together_by_variant() -> None:
    one, same, other = (
        group(f"tests/contracts/test_protocols.py::{name}")
        for name in ("test_a[pae-3]", "test_b[pae-3]", "test_a[local]")
    )
    assert one == same != other
    assert group("tests/contracts/test_protocols.py::test_a") not in (one, other)
