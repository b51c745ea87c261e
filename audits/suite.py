"""A suite: which protocols are run, on how much data, and which attacks with which settings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..attacks import ATTACKS
from ..system.errors import UnknownName, UsageError
from ..system.protocols import PROTOCOLS
from .settings import build
from .threat import Threat

BUILT_IN = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataPlan(_Strict):
    """How much data, in rows."""

    max_classes: int = Field(default=20, ge=2)
    generated: int = Field(default=6000, ge=100)
    """Rows drawn from a generator or, at random, from a larger file."""
    victim_train: int = Field(default=600, ge=4)
    victim_test: int = Field(default=400, ge=4)
    auxiliary: int = Field(default=400, ge=0)
    non_member: int = Field(default=100, ge=0)
    texts: int = Field(default=60, ge=1)
    """Victim rows whose texts are asked for."""


class LimitPlan(_Strict):
    """What an attack may use."""

    seconds: float = Field(default=300, gt=0)
    memory_gib: float = Field(default=6, gt=0)


class RunPlan(_Strict):
    """One protocol with its settings, and what attacks it."""

    protocol: str
    settings: dict[str, Any] = {}
    attacks: list[str] | None = None
    """Names; all that are installed where absent."""
    vary: dict[str, list[dict[str, Any]]] = {}
    """By attack, the settings of each of its cells; one cell with the defaults where absent."""


class Suite(_Strict):
    """A whole audit."""

    name: str = ""
    victims: int = Field(default=1, ge=1)
    data: DataPlan = DataPlan()
    threat: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    """Settings given to every protocol that has them, such as selector, prompt and longest."""
    limits: LimitPlan = LimitPlan()
    runs: list[RunPlan] = Field(min_length=1)

    def shared(self, run: RunPlan) -> dict[str, Any]:
        """The settings given to every protocol, as far as this run's has them."""
        return {name: value for name, value in self.protocol.items() if name in _settings(run.protocol)}


def load_suite(reference: str) -> Suite:
    """A suite by built-in name or from one's own TOML file."""
    path = BUILT_IN.get(reference, Path(reference))
    if reference not in BUILT_IN and path.suffix != ".toml":
        raise UnknownName("suite", reference, BUILT_IN)
    if not path.is_file():
        raise UsageError(f"the suite file {reference} does not exist; give quick, standard or a TOML file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{reference} is not valid TOML: {error}") from None
    suite = _validated(values, reference)
    _check(suite, reference)
    return suite.model_copy(update={"name": suite.name or path.stem})


def _check(suite: Suite, reference: str) -> None:
    """Every name and setting, before anything is read or written."""
    build(Threat, suite.threat, "threat")
    built = [build(PROTOCOLS[run.protocol], {**suite.shared(run), **run.settings}, run.protocol) for run in suite.runs]
    for at, protocol in enumerate(built):
        if protocol in built[:at]:
            raise UsageError(f"runs.{at} in {reference} repeats runs.{built.index(protocol)}; give each run once")
    known = {name for run in suite.runs for name in _settings(run.protocol)}
    for name in suite.protocol:
        if name not in known:
            raise UnknownName("setting of the suite's protocols", name, known)
    for at, run in enumerate(suite.runs):
        _check_attacks(run, f"runs.{at} in {reference}")


def _check_attacks(run: RunPlan, where: str) -> None:
    for name in [*(run.attacks or ()), *run.vary]:
        ATTACKS[name]
    if run.attacks is not None and len(set(run.attacks)) < len(run.attacks):
        raise UsageError(f"attacks of {where} name one attack twice; give each once, and its settings in vary")
    for name, cells in run.vary.items():
        if run.attacks is not None and name not in run.attacks:
            raise UsageError(f"vary of {where} has {name!r}, which is none of its attacks; add it to them")
        built = [build(ATTACKS[name], settings, name) for settings in cells]
        if any(attack in built[:at] for at, attack in enumerate(built)) or not built:
            raise UsageError(f"vary.{name} of {where} is empty or repeats a cell; give different settings")


def _settings(protocol: str) -> frozenset[str]:
    return frozenset(field.name for field in fields(PROTOCOLS[protocol]))


def _validated(values: Mapping[str, Any], reference: str) -> Suite:
    try:
        return Suite.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UnknownName(f"entry of {reference}", str(first["loc"][-1]), _names_beside(first["loc"])) from None
        raise UsageError(f"{where} in {reference}: {first['msg'].lower()}") from None


def _names_beside(loc: tuple[int | str, ...]) -> list[str]:
    """The names that would have been right beside a wrong one."""
    tables: dict[str, type[BaseModel]] = {"data": DataPlan, "limits": LimitPlan, "runs": RunPlan}
    model = tables.get(str(loc[0]), Suite) if len(loc) > 1 else Suite
    return list(model.model_fields)
