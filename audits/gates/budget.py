"""A leakage budget from its TOML file, every name and bound checked before anything is run or written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from ...attacks import ATTACKS
from ...attacks.attack import Goal
from ...system.errors import UnknownName, UsageError
from ...system.presets import PRESETS
from ...system.protocols import PROTOCOLS
from ..cells import composites
from ..cells.scoring import PRIMARY
from ..compiling import contests
from ..suites.suite import validated
from ..suites.threat import Threat
from .metrics import goal_of

TABLE = "limit"
HARNESS = (contests.NAME, composites.NAME)
"""Rows of the harness itself, under any goal."""
OF_ROWS, OF_RUNS = ("max_advantage", "max_value"), ("min_utility", "max_epsilon")
BOUNDS = (*OF_ROWS, *OF_RUNS)
"""What a limit bounds: a row's numbers, or what is stated of the runs behind it. Each limit has one."""
OF_A_RUN: tuple[str, ...] = ("protocol", "label", "adversary", "threat")
OF_A_ROW: tuple[str, ...] = ("goal", "attack", "metric")
"""Selectors: of runs, and of rows alone."""
NO_ADVANTAGE = (
    'membership has no advantage; bound its rate of members found with metric = "tpr_at_1" and max_value, '
    "in a limit of its own"
)


def _as_several(given: Any) -> Any:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise PydanticCustomError("names", "give a name or a list of names")
    return tuple(names)


Names = Annotated[tuple[str, ...], BeforeValidator(_as_several)]
"""One name, or several of which any will do."""


class Limit(BaseModel):
    """One bound, and what it is held against: everything, where no selector narrows it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    protocol: Names | None = None
    label: Names | None = None
    """Runs' whole names, since one protocol may stand in several settings and defences."""
    adversary: str | None = None
    threat: dict[str, Any] = {}
    """Entries of the threat model, such as known_labels."""
    goal: str | None = None
    attack: str | None = None
    metric: str | None = None
    """The metrics that carry a verdict, where absent."""
    points: bool = False
    """Whether points of sweeps are held to the limit too."""
    max_advantage: float | None = Field(default=None, ge=0, lt=1, allow_inf_nan=False)
    max_value: float | None = Field(default=None, gt=0, lt=1, allow_inf_nan=False)
    min_utility: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    max_epsilon: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    promise: Literal["label", "example", "released"] = "label"
    """Whose epsilon `max_epsilon` bounds."""
    max_delta: float = Field(default=1e-5, ge=0, lt=1, allow_inf_nan=False)
    """Above it a promised epsilon counts as none."""

    @property
    def bound(self) -> str:
        """The name of its one bound."""
        return next(name for name in BOUNDS if getattr(self, name) is not None)

    @property
    def at(self) -> float:
        return float(getattr(self, self.bound))

    @property
    def given(self) -> dict[str, Any]:
        """What the file says."""
        return self.model_dump(exclude_unset=True)

    @property
    def asked(self) -> str | None:
        """The goal that is asked for, by name or by a metric or attack of it; None where any is."""
        named = self.goal or (goal_of(self.metric) if self.metric else None)
        return named or (str(ATTACKS[self.attack].goal) if self.attack and self.attack not in HARNESS else None)

    def holds_for(self, protocol: str, label: str, threat: Mapping[str, Any] | None) -> bool:
        """Whether a run is held to it; one whose threat model is not known is, since it may be meant."""
        own = {**self.threat, **({"adversary": self.adversary} if self.adversary else {})}
        named = protocol in (self.protocol or (protocol,)) and label in (self.label or (label,))
        return named and (threat is None or all(threat.get(name) == value for name, value in own.items()))

    def takes(self, attack: str, goal: str) -> bool:
        """Whether an attack's rows are held to it, by attack and goal."""
        return self.attack in (None, attack) and self.asked in (None, goal)

    @property
    def roles(self) -> tuple[str, ...]:
        """Of rows and runs that are held to it: those of the table; controls and one victim's part never."""
        return ("row", "point") if self.points else ("row",)


def shown(given: Any) -> str:
    """A selector's or bound's value in a sentence."""
    return " or ".join(map(repr, given)) if isinstance(given, tuple) else repr(given)


@dataclass(frozen=True)
class LeakageBudget:
    """Several limits, numbered from 1 in the order of the file."""

    limits: tuple[Limit, ...]

    def numbered(self) -> Iterator[tuple[int, Limit]]:
        yield from enumerate(self.limits, 1)


def read_budget(path: Path) -> LeakageBudget:
    """The budget in a file; one sentence of UsageError for what is wrong in it."""
    if not path.is_file():
        raise UsageError(f"the budget file {path} does not exist; give a TOML file with at least one [[{TABLE}]]")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    if other := [name for name in values if name != TABLE]:
        raise UnknownName(f"entry of {path}", other[0], [TABLE])
    tables = values.get(TABLE)
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path} holds no limits; give at least one table [[{TABLE}]], in double brackets")
    return LeakageBudget(tuple(_limit(table, f"limit {at} of {path}") for at, table in enumerate(tables, 1)))


def _limit(table: Mapping[str, Any], where: str) -> Limit:
    limit = validated(Limit, table, where)
    bounds = [name for name in BOUNDS if name in limit.given]
    if not bounds:
        raise UsageError(f"{where} has no bound; give one of {', '.join(BOUNDS)}")
    if len(bounds) > 1:
        raise UsageError(f"{where} has {' and '.join(bounds)}; give each a limit of its own")
    _check_names(limit, where)
    _check_threat(limit, where)
    _check_goals(limit, where)
    _check_bound(limit, where)
    return limit


def _check_names(limit: Limit, where: str) -> None:
    for name in limit.protocol or ():
        if name in PRESETS:
            raise UsageError(f"{where}: {name} is a preset; give label = {name!r} in place of protocol")
        if name not in PROTOCOLS:
            raise UnknownName(f"protocol in {where}", name, PROTOCOLS)
    known = {
        "goal": [str(goal) for goal in PRIMARY],
        "attack": [*ATTACKS, *HARNESS],
        "adversary": get_args(get_type_hints(Threat)["adversary"]),
    }
    for name, names in known.items():
        if (value := getattr(limit, name)) is not None and value not in names:
            raise UnknownName(f"{name} in {where}", value, names)
    if limit.metric is not None:
        goal_of(limit.metric, where)


def _check_threat(limit: Limit, where: str) -> None:
    kinds = get_type_hints(Threat)
    for name, value in limit.threat.items():
        if name not in Threat.__dataclass_fields__:
            raise UnknownName(f"entry of the threat in {where}", name, Threat.__dataclass_fields__)
        try:
            TypeAdapter(kinds[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise UsageError(f"threat.{name} in {where}: {error.errors()[0]['msg'].lower()}") from None


def _check_goals(limit: Limit, where: str) -> None:
    """Refuse a goal, a metric and an attack that no row has together."""
    goals: dict[str, str] = {}
    if limit.goal:
        goals["goal"] = limit.goal
    if limit.metric:
        goals["metric"] = goal_of(limit.metric)
    if limit.attack and limit.attack not in HARNESS:
        goals["attack"] = str(ATTACKS[limit.attack].goal)
    for first, name in combinations(goals, 2):
        if goals[name] != goals[first]:
            both = f"{name} {getattr(limit, name)!r} is of {goals[name]}, not of {first} {getattr(limit, first)!r}"
            raise UsageError(f"{where}: {both}; no row has both")


def _check_bound(limit: Limit, where: str) -> None:
    """Refuse what does not go with the bound."""
    bound = limit.bound
    for name in OF_A_ROW:
        if bound in OF_RUNS and name in limit.given:
            raise UsageError(f"{where}: {bound} bounds runs, which have no {name}; leave {name} away")
    for name in ("promise", "max_delta"):
        if bound != "max_epsilon" and name in limit.given:
            raise UsageError(f"{where}: {name} belongs to max_epsilon; leave it away")
    if bound == "max_advantage" and limit.asked == Goal.MEMBERS:
        raise UsageError(f"{where}: {NO_ADVANTAGE}")
