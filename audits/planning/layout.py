"""What an audit's tables and curves are made of: which stored cells stand behind which row.

Kept as plan.json, so that the tables can be made again from stored cells alone. It names cells and settings; nothing
in it is private.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...system import files
from ..digest import SCHEMA
from ..suites.arrange import Role

NAME = "plan.json"


@dataclass(frozen=True)
class Group:
    """The runs of one protocol with its settings, one for each victim."""

    group: str
    label: str
    protocol: str
    role: Role
    """The first that holds, in the order row, control, point."""
    runs: Mapping[int, str]
    """By victim, the run's folder."""


@dataclass(frozen=True)
class Placed:
    """A point's place on its curve."""

    curve: str
    label: str
    """The run's name without the setting that is varied."""
    settings: Mapping[str, Any]
    """Those of the attack, without the one that is varied."""
    setting: str
    value: Any
    at: int


@dataclass(frozen=True)
class Control:
    """The runs on which the same attack is looked at too."""

    group: str
    must_succeed: bool
    """Whether it shows that the attack can work; reassigned labels show what an attack only infers."""


@dataclass(frozen=True)
class Entry:
    """One attack with its settings on one group of runs, in one role."""

    group: str
    role: Role
    attack: str
    goal: str
    settings: Mapping[str, Any]
    """Those that differ from the attack's defaults."""
    cells: Mapping[int, tuple[str, ...]]
    """By victim, the cells of the attacker's seeds."""
    controls: Mapping[str, Control] = field(default_factory=dict)
    """By name."""
    place: Placed | None = None
    among: tuple[int, ...] = ()
    """Of a composite, its members' places among the entries."""
    members: tuple[str, ...] = ()
    """Of a composite, its members' codes."""

    @property
    def code(self) -> str:
        """What the same attack has in common on every group; a composite is the same where its members are."""
        return json.dumps([self.attack, dict(self.settings), self.goal, *self.members], sort_keys=True)


@dataclass(frozen=True)
class Layout:
    """An audit's tables and curves."""

    groups: tuple[Group, ...]
    entries: tuple[Entry, ...]

    @property
    def runs(self) -> list[str]:
        """Every run's folder."""
        return [key for group in self.groups for key in group.runs.values()]

    def save(self, out: Path) -> None:
        """Write plan.json."""
        stored = {"schema": SCHEMA, "groups": _plain(self.groups), "entries": _plain(self.entries)}
        files.write_json(out / NAME, stored)


def load_layout(out: Path) -> Layout:
    """The layout of the audit in a folder."""
    stored = files.read_json(out / NAME)
    groups = tuple(Group(**{**group, "runs": _by_victim(group["runs"])}) for group in stored["groups"])
    return Layout(groups, tuple(map(_entry, stored["entries"])))


def _entry(stored: dict[str, Any]) -> Entry:
    cells = {victim: tuple(keys) for victim, keys in _by_victim(stored["cells"]).items()}
    place = Placed(**stored["place"]) if stored["place"] else None
    controls = {name: Control(**control) for name, control in stored["controls"].items()}
    lists = {name: tuple(stored[name]) for name in ("among", "members")}
    return Entry(**{**stored, **lists, "cells": cells, "place": place, "controls": controls})


def _by_victim(stored: Mapping[str, Any]) -> dict[int, Any]:
    return {victim: stored[str(victim)] for victim in sorted(map(int, stored))}


def _plain(records: Sequence[Group | Entry]) -> list[dict[str, Any]]:
    return [asdict(record) for record in records]
