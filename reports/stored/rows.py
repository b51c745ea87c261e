"""The judged figures that an audit stores, typed: the rows of its tables, the points of its curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .records import Budget, Estimate, Floor, Price, Role, Stored, Twin, Utility

Status = Literal["scored", "not_exposed", "not_applicable", "failed"]
Verdict = Literal["leaks", "resists", "inconclusive"]
REASSIGNED = "reassigned"
"""The control whose labels the features do not follow; it can neither succeed nor fail."""
BEST = "best"
"""The name under which the best of several attacks stands."""


def _number_as_value(stored: Any) -> Any:
    return {"value": stored} if isinstance(stored, int | float) else stored


def _one_as_several(stored: Any) -> Any:
    return () if stored is None else (stored,) if isinstance(stored, str) else stored


Names = Annotated[tuple[str, ...], BeforeValidator(_one_as_several)]
Settings = Annotated[dict[str, Any], BeforeValidator(lambda stored: {} if stored is None else stored)]


class Judged(Estimate):
    """A value beside its twins, with what follows from it; all None where nothing was scored."""

    status: Status
    reason: str | None = None
    blind_outsider: Annotated[Twin | None, BeforeValidator(_number_as_value)] = None
    blind_rest: Annotated[Twin | None, BeforeValidator(_number_as_value)] = None
    advantage: float | None = None
    advantage_low: float | None = None
    advantage_high: float | None = None
    p_holm: float | None = None
    verdict: Verdict | None = None
    n: int | None = None
    victims: tuple[int, ...] = ()
    scope: str | None = None
    epsilon: Budget | None = None
    price: Price | None = None


class Control(Estimate):
    """The same attack on a run where it has to succeed, or where it tells what was only inferred."""

    advantage: float | None = None
    advantage_low: float | None = None
    advantage_high: float | None = None
    succeeded: bool | None = None
    """None where the control has nothing to succeed in."""
    run: Names = ()


class Sweep(Stored):
    """A point's place on its curve."""

    curve: str
    setting: str
    value: Any = None
    at: int = 0


class Roc(Stored):
    """How an attack on membership trades members found for others accused, on one victim."""

    members: int
    non_members: int
    false_positives: Estimate
    """Of the others that set no threshold, at the one for 1 %."""
    log_ratio: float | None = None
    """Natural logarithm of true over false positives there."""
    epsilon: float = 0.0
    """The least at delta 0 under which so many would be found there by both 95 % intervals, were rows independent."""
    fpr: tuple[float, ...] = ()
    tpr: tuple[float, ...] = ()


class Row(Judged):
    """One metric of one attack on a group of runs."""

    cell: str
    group: str
    role: Role
    run: str | None
    protocol: str
    label: str
    attack: str
    goal: str | None = None
    paper_version: str | None = None
    attack_source: str | None = None
    settings: Settings = Field(default_factory=dict)
    defence: dict[str, dict[str, Any]] | None = None
    """By name, the settings that are not their defaults; None where nothing is defended."""
    utility: float | None = None
    uplink_bytes_per_sample: float | None = None
    downlink_bytes_per_sample: float | None = None
    device_seconds_per_sample: float | None = None
    adversary: str | None = None
    threat: Settings = Field(default_factory=dict)
    seed: int | None = None
    """The victim's number, None for a row over victims."""
    part_of: str | None = None
    """The row over victims that a victim's row belongs to, by its cell."""
    cells: tuple[str, ...] = ()
    """The stored cells behind the row."""
    attacker_seeds: int = 1
    sandbox: str | None = None
    metric: str | None = None
    primary: bool = False
    judged: bool = False
    """Whether the metric carries a verdict."""
    direction: str | None = None
    p: float | None = None
    family: str | None = None
    controls: Annotated[dict[str, Control], BeforeValidator(lambda stored: stored or {})] = Field(default_factory=dict)
    sweep: Sweep | None = None
    chosen: Names = ()
    """Of a row `best`: what was chosen on one half of the rows, and among what."""
    among: Names = ()
    seconds: float | None = None
    prepare_seconds: float | None = None
    peak_mib: int | None = None
    """Most memory that a process of the attack took, libraries and backbone in it."""
    consumes: Names = ()
    roc: Roc | None = None
    stored: Mapping[str, Any] = Field(default_factory=dict, exclude=True, repr=False)
    """The row as it stands in results.jsonl."""

    @property
    def blind(self) -> float | None:
        """What the stronger of the two twins reaches."""
        values = [twin.value for twin in (self.blind_outsider, self.blind_rest) if twin and twin.value is not None]
        return max(values, default=None)

    @property
    def is_best(self) -> bool:
        """Whether the row is the best of several attacks."""
        return self.attack == BEST


class Point(Judged):
    """One value of the setting that a curve varies."""

    x: Any
    group: str | None = None
    cell: str | None = None
    utility: Annotated[Utility | None, BeforeValidator(_number_as_value)] = None
    floor: Floor | None = None
    uplink_bytes_per_sample: float | None = None
    downlink_bytes_per_sample: float | None = None


class Curve(Stored):
    """One metric of one attack along one setting."""

    curve: str
    label: str
    """The run's name without the setting that is varied."""
    protocol: str
    attack: str
    settings: Settings = Field(default_factory=dict)
    goal: str | None = None
    metric: str | None = None
    primary: bool = False
    judged: bool = False
    setting: str
    axis: Literal["linear", "log", "ordinal"]
    points: tuple[Point, ...] = ()
