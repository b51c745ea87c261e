"""What makes a run and a cell the one it is: everything that can change its numbers, in one digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from ...system.building import Recipe, called, differing, folded
from ...system.settings import changed, named
from ..digest import SCHEMA, digest
from ..sandbox.prepared_key import code_version
from ..suites.suite import Labels

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class RunIdentity:
    """One protocol with its settings on one victim."""

    protocol: str
    settings: Mapping[str, Any]
    default: Mapping[str, Any]
    """The protocol's settings where the suite says nothing: only for the name that people read."""
    threat: Mapping[str, Any]
    """As results show it: of a relative its name, not where it lies."""
    backbone: str
    data: str
    sizes: Mapping[str, Any]
    victim: int
    seed: str
    """Digest of the secret seed: two audits with different seeds are different runs."""
    defences: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name, all their settings, in the order in which they act."""
    labels: Labels = "own"
    models: tuple[str, ...] = ()
    """Digests of the models that the protocol needs beside the backbone, then of the adversary's relative, then of
    other files: the settings hold their names alone."""
    plug_ins: Mapping[str, str] = field(default_factory=dict)
    """Protocol and defences of other people's packages, each with a digest of its code."""
    varied: Mapping[str, Any] = field(default_factory=dict)
    """What else differs from the suite, such as data.max_classes: only for the name that people read."""

    @property
    def label(self) -> str:
        """The row's name: the protocol and its defences, each with what differs from its defaults."""
        other = {"labels": self.labels} if self.labels != "own" else {}
        defences = {name: differing(name, settings) for name, settings in self.defences.items()}
        short = folded(Recipe(self.protocol, changed(self.settings, self.default), defences))
        name = named(short.protocol, {**short.settings, **self.varied, **other})
        return " + ".join([name, *(called(*one) for one in short.defences.items())])

    @property
    def common(self) -> dict[str, Any]:
        """What the runs of several victims share."""
        return {
            "schema": SCHEMA,
            "version": version("sidelight"),
            "protocol": self.protocol,
            "settings": dict(self.settings),
            "defences": [[name, dict(settings)] for name, settings in self.defences.items()],  # their order counts
            "threat": dict(self.threat),
            "backbone": self.backbone,
            "sizes": dict(self.sizes),
            "labels": self.labels,
            "models": list(self.models),
            **({"plug_ins": dict(self.plug_ins)} if self.plug_ins else {}),
        }

    @property
    def own(self) -> dict[str, Any]:
        """Everything that can change the run's numbers."""
        return {**self.common, "data": self.data, "victim": self.victim, "seed": self.seed}

    @property
    def group(self) -> str:
        """Digest of what the runs of several victims share."""
        return digest(self.common)

    @property
    def key(self) -> str:
        """The run's folder."""
        return f"{self.protocol}-{self.victim}-{digest(self.own)}"


def cell_identity(
    run: str, attack: str, module: str, settings: Mapping[str, Any], repeat: int, metrics: Mapping[str, str] = NONE
) -> dict[str, Any]:
    """Everything that can change a cell's numbers: its run, the attack with its code, settings, attacker's seed.

    `metrics` are those of other people's packages, each with a digest of its code.
    """
    return {
        "run": run,
        "attack": attack,
        "code": code_version(module),
        "settings": dict(settings),
        "repeat": repeat,
        **({"metrics": dict(metrics)} if metrics else {}),
    }


def cell_key(identity: Mapping[str, Any]) -> str:
    """A cell's folder."""
    return f"{identity['run']}-{identity['attack']}-{digest(identity)}"
