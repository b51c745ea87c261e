"""Whether an attack applies to what a run shows: a missing kind is a finding, a missing item a threat model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...attacks import Attack
from ...system.public import UNSAID


class Outside(NamedTuple):
    """Why a cell has no score."""

    status: str
    """`not_exposed`: what the attack reads never crosses. `not_applicable`: it crosses, but not in this form, or the
    threat model withholds a public item."""
    reason: str


def outside(attack: Attack, shown: frozenset[str], items: frozenset[str], facts: Mapping[str, Any]) -> Outside | None:
    """None where the attack applies."""
    if absent := sorted(attack.needs.view - shown):
        return Outside("not_exposed", f"the adversary never receives {' or '.join(absent)}")
    if withheld := sorted(attack.needs.public - items):
        return Outside("not_applicable", f"the adversary does not have: {', '.join(withheld)}")
    for fact, values in attack.assumes.items():
        if (is_so := facts.get(fact, UNSAID.get(fact))) not in values:
            taken = " or ".join(map(str, values))
            return Outside("not_applicable", f"{fact} is {is_so}; the attack takes {taken}")
    return None
