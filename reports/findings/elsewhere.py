"""What other runs of an audit attack of the same training: those with another adversary."""

from __future__ import annotations

from typing import Any

from ..stored.records import Group
from ..stored.results import Audit

AND = " and "
"""Between parties in collusion."""


def audited_elsewhere(audit: Audit, group: Group) -> dict[tuple[str, str], tuple[str, ...]]:
    """By party and kind, the attacks that are scored on it in groups that differ from this one in the threat alone."""
    own = _training(audit, group)
    alike = {one.group for one in audit.groups if one.group != group.group and _training(audit, one) == own}
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in audit.rows:
        if row.group in alike and row.status == "scored" and not row.is_best:
            for key in ((party, kind) for party in (row.adversary or "").split(AND) for kind in row.consumes):
                found[key] = tuple(dict.fromkeys((*found.get(key, ()), row.attack)))
    return found


def _training(audit: Audit, group: Group) -> tuple[Any, ...]:
    """What was trained: the protocol with its settings and defences."""
    run = audit.runs[group.runs[0]]
    return run.protocol, run.settings, run.defences
