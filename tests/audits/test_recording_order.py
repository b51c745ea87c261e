"""Which run is recorded first."""

from __future__ import annotations

from dataclasses import replace

from sidelight.audits.audit import longest_first

from .test_recorder import ORDER


def test_runs_that_train_the_backbone_are_begun_first_and_then_later_ones() -> None:
    orders = [replace(ORDER, label=name, protocol=name) for name in ("local", "pae", "mobillm", "split", "pae_lm")]
    assert [order.label for order in longest_first(orders)] == ["split", "local", "pae_lm", "mobillm", "pae"]
