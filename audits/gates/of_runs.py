"""Limits on what is stated of runs: how useful their models are, and what their defences promise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..privacy.promises import EXAMPLE, LABEL, RELEASED
from .budget import Limit
from .check import Check
from .evidence import Group

PROMISED = {"label": LABEL, "example": EXAMPLE, "released": RELEASED}


def of_runs(at: int, limit: Limit, group: Group) -> Iterator[Check]:
    """A group's runs against a limit on them; one that was not recorded says nothing."""
    for victim, run in group.runs.items():
        if run is None:
            yield replace(_check(at, limit, group, victim), reason="the run was not recorded; the report says why")
    if all(group.runs.values()):
        yield from _utility(at, limit, group) if limit.bound == "min_utility" else _promises(at, limit, group)


def _check(at: int, limit: Limit, group: Group, victim: int | None) -> Check:
    return Check(at, limit.bound, limit.at, "failed", group.subject(victim))


def _utility(at: int, limit: Limit, group: Group) -> Iterator[Check]:
    """The lower end of a group's utility; of each victim's own where they are too few for an interval over them."""
    stated: dict[int | None, Any] = {None: group.about["utility"]}
    if len(group.runs) > 1 and (stated[None] is None or stated[None]["low"] is None):
        stated = {victim: run["utility"] for victim, run in group.runs.items() if run}
    for victim, found in stated.items():
        if found is None:
            why = "nobody told how useful the model is"
            yield replace(_check(at, limit, group, victim), outcome="not measured", reason=why)
            continue
        check = replace(_check(at, limit, group, victim), **{name: found[name] for name in ("value", "low", "high")})
        if check.low is None:
            yield replace(check, outcome="no interval", reason="the utility has no interval")
        else:
            yield replace(check, outcome="within" if check.low >= limit.at else "missed")


def _promises(at: int, limit: Limit, group: Group) -> Iterator[Check]:
    for victim, run in group.runs.items():
        assert run is not None
        check = _check(at, limit, group, victim)
        if group.silent and limit.promise != "released":
            yield replace(check, outcome="not exposed", reason="nothing reaches the adversary")
        else:
            yield _promise(limit, check, run.get(PROMISED[limit.promise]))


def _promise(limit: Limit, check: Check, promised: Mapping[str, Any] | None) -> Check:
    """What is promised must be small enough, at a small enough delta, and no audit may show more than it."""
    if promised is None:
        return replace(check, outcome="exceeded", reason=f"nothing is promised of one {limit.promise}")
    check = replace(check, value=promised["epsilon"])
    if promised["delta"] > limit.max_delta:
        said = f"its delta is {promised['delta']:g}, above max_delta {limit.max_delta:g}"
        return replace(check, outcome="exceeded", reason=said)
    audit = promised.get("audit")
    if audit and audit["epsilon_low"] > promised["epsilon"]:
        said = f"an audit of the promise found at least {audit['epsilon_low']:.3g}"
        return replace(check, outcome="exceeded", low=audit["epsilon_low"], reason=said)
    low = audit["epsilon_low"] if audit else None
    if promised["epsilon"] > limit.at:
        return replace(check, outcome="exceeded", low=low)
    return replace(check, outcome="within", low=low, reason=None if audit else "the promise was not audited")
