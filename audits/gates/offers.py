"""What a suite will measure, or an audit has measured, as far as a limit asks: to refuse limits that must go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...attacks import ATTACKS
from ...attacks.attack import Goal
from ...system import files
from ...system.errors import UsageError
from ..planning.layout import Group, load_layout
from ..planning.naming import Inputs, name_run
from ..suites.arrange import Planned, arrange
from ..suites.suite import Suite
from .budget import HARNESS, NO_ADVANTAGE, OF_A_ROW, OF_A_RUN, OF_ROWS, LeakageBudget, Limit, shown


@dataclass(frozen=True)
class Offer:
    """Runs of one protocol with its settings, in one role, and what attacks them."""

    role: str
    protocol: str
    label: str
    threat: Mapping[str, Any] | None
    """None where it is not known, as no run was recorded."""
    attacks: frozenset[tuple[str, str]]
    """By name, each with its goal."""
    silent: bool = False
    """Whether nothing of the protocol reaches anybody, so that no attack is needed to say so."""


def offers_of_suite(suite: Suite) -> tuple[Offer, ...]:
    """What a suite's runs will be called and attacked with, before anything is read or written."""
    return tuple(_planned(suite, one) for one in arrange(suite) if one.role != "control")


def _planned(suite: Suite, one: Planned) -> Offer:
    inputs = Inputs(suite, "", {suite.data_of(one.run): ""}, "")  # a label follows from no digest and no seed
    name = name_run(inputs, one.run, 0)
    attacks = frozenset((attack, str(ATTACKS[attack].goal)) for attack, _ in one.run.attacked())
    voted = frozenset((harness, goal) for harness in HARNESS for _, goal in attacks)
    silent = not any(suite.protocol_of(one.run).shows.values())
    return Offer(one.role, name.protocol, name.label, name.threat, attacks | voted, silent)


def offers_of_audit(out: Path) -> tuple[Offer, ...]:
    """What a finished audit was laid out to measure."""
    layout = load_layout(out)
    groups = {group.group: group for group in layout.groups}
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for entry in layout.entries:
        attacks = found.setdefault((entry.group, entry.role), set())
        attacks |= {(entry.attack, entry.goal), *((harness, entry.goal) for harness in HARNESS)}
    return tuple(
        Offer(role, groups[group].protocol, groups[group].label, _threat(out, groups[group]), frozenset(attacks))
        for (group, role), attacks in found.items()
        if role != "control"
    )


def _threat(out: Path, group: Group) -> Mapping[str, Any] | None:
    paths = (out / "runs" / key / "run.json" for key in group.runs.values())
    return next((files.read_json(path)["threat"] for path in paths if path.exists()), None)


def refuse_senseless(budget: LeakageBudget, offers: Sequence[Offer], where: str) -> None:
    """Refuse limits on an advantage that would take in membership, which has none."""
    for at, limit in budget.numbered():
        taken = (attack for offer in _held(limit, offers) for attack in offer.attacks)
        if limit.bound == "max_advantage" and any(limit.takes(*one) and one[1] == Goal.MEMBERS for one in taken):
            raise UsageError(f"limit {at} of {where} names no goal: {NO_ADVANTAGE}, and give this one a goal")


def refuse_idle(budget: LeakageBudget, offers: Sequence[Offer], where: str) -> None:
    """Refuse limits under which something cannot be measured, before hours are spent on finding that out."""
    for at, limit in budget.numbered():
        if why := idle(limit, offers):
            raise UsageError(f"limit {at} of {where} would measure nothing: {why}")
        if gaps := [one.label for one in _held(limit, offers) if _unattacked(limit, one)]:
            said = f"no attack on {limit.asked} runs on {'; '.join(gaps)}"
            raise UsageError(f"limit {at} of {where} could not be kept: {said}; add one, or name other runs by label")


def _unattacked(limit: Limit, offer: Offer) -> bool:
    """Whether a goal that is asked for everywhere is attacked nowhere in a run."""
    everywhere = limit.bound in OF_ROWS and limit.asked and not limit.attack and not offer.silent
    return bool(everywhere) and not any(limit.takes(*one) for one in offer.attacks)


def idle(limit: Limit, offers: Sequence[Offer]) -> str | None:
    """Why a limit, or a name in it, takes in nothing that is offered; None where all of it takes in something."""
    here = [one for one in offers if one.role in limit.roles]
    if not here:
        return "there are no runs" if limit.points else "there are only points of sweeps; give points = true"
    if why := absent(limit, offers):
        return why
    if not (held := _held(limit, here)):
        asked = [name for name in OF_A_RUN if name in limit.given]
        return f"no run has {_said(limit, asked)}; there are {'; '.join(sorted({_run(limit, one) for one in here}))}"
    silent = any(one.silent for one in held) and not limit.attack
    taken = any(limit.takes(*attack) for one in held for attack in one.attacks)
    if limit.bound in OF_ROWS and not (silent or taken):
        asked = [name for name in OF_A_ROW if name in limit.given]
        known = {f"{name} ({goal})" for one in held for name, goal in one.attacks if name not in HARNESS}
        return f"no attack there has {_said(limit, asked)}; there are {', '.join(sorted(known))}"
    return None


def absent(limit: Limit, offers: Sequence[Offer]) -> str | None:
    """Of the protocols and labels that a limit names, one that no run has; None where there is none."""
    for kind, names in (("protocol", limit.protocol), ("label", limit.label)):
        known = {str(getattr(one, kind)) for one in offers if one.role in limit.roles}
        if other := [name for name in names or () if name not in known]:
            return f"no run has the {kind} {other[0]!r}; there are {'; '.join(sorted(known))}"
    return None


def _said(limit: Limit, asked: Iterable[str]) -> str:
    return " and ".join(f"{name} {shown(limit.given[name])}" for name in asked)


def _run(limit: Limit, offer: Offer) -> str:
    """A run as far as a limit asks about its adversary."""
    own = offer.threat or {}
    threat = (f"{name} = {own.get(name)!r}" for name in limit.threat)
    return ", ".join([offer.label, str(own.get("adversary")), *threat])


def _held(limit: Limit, offers: Sequence[Offer]) -> list[Offer]:
    return [one for one in offers if one.role in limit.roles and limit.holds_for(one.protocol, one.label, one.threat)]
