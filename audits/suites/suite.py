"""A suite: which protocols are run, on how much data, which attacks with which settings, and what is varied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...attacks import ATTACKS
from ...system.building import build_protocol
from ...system.errors import UnknownName, UsageError
from ...system.protocols import PROTOCOLS, Protocol
from ...system.settings import build
from .threat import Threat

M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataPlan(_Strict):
    """How much data, in rows."""

    max_classes: int = Field(default=20, ge=2)
    generated: int = Field(default=6000, ge=100)
    """Rows drawn from a generator or, at random, from a larger file."""
    together: int = Field(default=1, ge=1)
    """Rows of one label that are put end to end to make one, for longer texts."""
    victim_train: int = Field(default=600, ge=4)
    victim_test: int = Field(default=400, ge=4)
    auxiliary: int = Field(default=400, ge=0)
    non_member: int = Field(default=100, ge=0)
    texts: int = Field(default=60, ge=1)
    """Victim rows whose texts are asked for."""
    random_labels: float = Field(default=0, ge=0, lt=1)
    """Share of the victim's rows that get a uniform label by coin."""


class LimitPlan(_Strict):
    """What an attack may use."""

    seconds: float = Field(default=300, gt=0)
    prepare_seconds: float = Field(default=1800, gt=0)
    """What an attack may take to prepare, once for all runs that share its public knowledge."""
    memory_gib: float = Field(default=6, gt=0)


Labels = Literal["own", "reassigned"]
"""Labels that the victim trains on: its rows' own, or those of rows drawn without replacement."""


class ControlPlan(_Strict):
    """A run beside another one, on which the same attacks must succeed, or which tells what they only infer."""

    settings: dict[str, Any] = {}
    """Laid over those of the run."""
    defences: dict[str, dict[str, Any]] | None = None
    """In place of those of the run, where given."""
    labels: Labels = "own"


class RunPlan(_Strict):
    """One protocol with its settings, and what attacks it."""

    protocol: str
    settings: dict[str, Any] = {}
    defences: dict[str, dict[str, Any]] = {}
    """By name, their settings, in the order in which they act."""
    threat: dict[str, Any] = {}
    """Laid over the suite's."""
    data: dict[str, Any] = {}
    """Laid over the suite's."""
    labels: Labels = "own"
    attacks: list[str] | None = None
    """Names; all that are installed where absent."""
    vary: dict[str, list[dict[str, Any]]] = {}
    """By attack, the settings of each of its cells; one cell with the defaults where absent.

    An empty list leaves the attack out."""
    controls: dict[str, ControlPlan] = {}
    """By name: labels reassigned, say. A defended run has those of defended.py beside them."""
    sweep: dict[str, list[Any]] = {}
    """One setting with its values, drawn as a curve: NAME or NAME.NAME of the protocol, `data.NAME`, `threat.NAME`,
    `defences.DEFENCE.NAME`, or `attack.ATTACK.NAME`."""

    def attacked(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each cell's attack, by name, with its settings."""
        for name in self.attacks or sorted(ATTACKS):
            for settings in self.vary.get(name, [{}]):
                yield name, settings


class Suite(_Strict):
    """A whole audit."""

    name: str = ""
    victims: int = Field(default=1, ge=1)
    attacker_seeds: int = Field(default=1, ge=1)
    """Times that each attack runs on each victim, with randomness of its own; they are averaged within the victim."""
    retrained: bool = False
    """Whether every victim is trained a second time, to tell how far two trained models agree by themselves."""
    data: DataPlan = DataPlan()
    threat: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    """Settings given to every protocol that has them, such as selector, prompt and longest."""
    limits: LimitPlan = LimitPlan()
    attacks: list[str] | None = None
    """Names, for every run that names none; all that are installed where absent."""
    runs: list[RunPlan] = Field(min_length=1)

    def shared(self, run: RunPlan) -> dict[str, Any]:
        """The settings given to every protocol, as far as this run's has them."""
        return {name: value for name, value in self.protocol.items() if name in settings_of(run.protocol)}

    def protocol_of(self, run: RunPlan) -> Protocol:
        """A run's protocol with all its settings and defences."""
        return build_protocol(run.protocol, {**self.shared(run), **run.settings}, run.defences)

    def data_of(self, run: RunPlan) -> DataPlan:
        """How much data a run has."""
        return validated(DataPlan, {**self.data.model_dump(), **run.data}, f"data of {run.protocol}")

    def threat_of(self, run: RunPlan) -> Threat:
        """What the adversary of a run is and knows."""
        return build(Threat, {**self.threat, **run.threat}, "threat")


def settings_of(protocol: str) -> frozenset[str]:
    """The names of a protocol's settings."""
    return frozenset(field.name for field in fields(PROTOCOLS[protocol])) - {"defences"}


def validated(model: type[M], values: Mapping[str, Any], reference: str) -> M:
    """A part of a suite; one sentence for an unknown name or a wrong value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            names = _names_beside(model, first["loc"])
            raise UnknownName(f"entry of {reference}", str(first["loc"][-1]), names) from None
        hint = '; quote a dotted name, as in sweep."side.epochs"' if "sweep" in first["loc"] else ""
        raise UsageError(f"{where} in {reference}: {first['msg'].lower()}{hint}") from None


def _names_beside(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The names that would have been right beside a wrong one."""
    tables: dict[str, type[BaseModel]] = {"data": DataPlan, "limits": LimitPlan, "runs": RunPlan}
    beside = ControlPlan if "controls" in loc[:-2] else tables.get(str(loc[0]), model) if len(loc) > 1 else model
    return list(beside.model_fields)
