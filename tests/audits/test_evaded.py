"""A defence that is known to be got around never reads `resists`, whatever an attack that does not try reached."""

from __future__ import annotations

from typing import Any

import pytest

from sidelight.audits.compiling.tables import Families

WORKED = {"undefended": {"succeeded": True}, "weakest": {"succeeded": True}}


def verdict_behind(defence: dict[str, Any] | None, low: float, high: float) -> str:
    """Of a row whose advantage has this interval and whose controls succeeded."""
    gain = {
        "p": 0.5 if low <= 0.05 else 1e-6,
        "advantage": (low + high) / 2,
        "advantage_low": low,
        "advantage_high": high,
    }
    row = {"goal": "labels", "family": "table", "controls": WORKED, "defence": defence, **gain}
    families = Families()
    families.add(row)
    families.close()
    return str(families.judged(row)["verdict"])


@pytest.mark.parametrize(
    ("defence", "expected"),
    [
        (None, "resists"),
        ({"quantise": {"bits": 2}}, "resists"),
        ({"round-backbone": {}}, "inconclusive"),
        ({"quantise": {}, "round-backbone": {"bits": 4}}, "inconclusive"),
        ({"a-plug-in-that-is-gone": {}}, "resists"),
    ],
)
def test_a_row_behind_a_defence_that_is_got_around_does_not_resist(
    defence: dict[str, Any] | None, expected: str
) -> None:
    assert verdict_behind(defence, -0.02, 0.03) == expected


def test_a_leak_behind_it_is_a_leak() -> None:
    assert verdict_behind({"round-backbone": {}}, 0.4, 0.6) == "leaks"
