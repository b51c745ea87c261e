"""What makes a run and a cell the one it is: everything that can change its numbers, in one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from .settings import changed

SCHEMA = 1


@dataclass(frozen=True)
class RunIdentity:
    """One protocol with its settings on one victim."""

    protocol: str
    settings: Mapping[str, Any]
    default: Mapping[str, Any]
    """The protocol's settings where the suite says nothing: only for the name that people read."""
    threat: Mapping[str, Any]
    backbone: str
    data: str
    sizes: Mapping[str, Any]
    victim: int
    seed: str
    """Digest of the secret seed: two audits with different seeds are different runs."""

    @property
    def label(self) -> str:
        """The row's name: protocol and what differs from its defaults."""
        return named(self.protocol, changed(self.settings, self.default))

    @property
    def key(self) -> str:
        """The run's folder."""
        parts = {
            "schema": SCHEMA,
            "version": version("sidelight"),
            "protocol": self.protocol,
            "settings": dict(self.settings),
            "threat": dict(self.threat),
            "backbone": self.backbone,
            "data": self.data,
            "sizes": dict(self.sizes),
            "victim": self.victim,
            "seed": self.seed,
        }
        return f"{self.protocol}-{self.victim}-{digest(parts)}"


def cell_key(run: str, attack: str, settings: Mapping[str, Any]) -> str:
    """A cell's folder: its run, attack and the attack's settings."""
    return f"{run}-{attack}-{digest({'run': run, 'attack': attack, 'settings': dict(settings)})}"


def digest(value: Any) -> str:
    """First 12 hexadecimal digits of the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def named(name: str, different: Mapping[str, Any]) -> str:
    """A name with the settings that differ from the defaults: how a row is called."""
    return f"{name} ({', '.join(f'{k}={v}' for k, v in sorted(different.items()))})" if different else name
