"""Stored audits made by hand: runs and cells whose rows are what a test says, without anything recorded or attacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy

from sidelight.attacks import ATTACKS
from sidelight.attacks.attack import Goal
from sidelight.audits.cells import cell as store
from sidelight.audits.cells.cell import Cell, Scored
from sidelight.audits.cells.fields import common, stated
from sidelight.audits.compiling.results import compile_results
from sidelight.audits.planning.layout import Entry, Group, Layout, Placed
from sidelight.audits.statistics import Measured
from sidelight.audits.suites.arrange import Role
from sidelight.system import files

ROWS = 200
AUDIT = {"backbone": "opt 01", "data": "rows 02", "sandbox": "none", "versions": {"torch": "2.13.0"}}


@dataclass
class Made:
    """An audit's folder while it is filled."""

    out: Path
    groups: list[Group] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("runs", "cells"):
            (self.out / name).mkdir(parents=True)

    def group(self, name: str, victims: int = 1, role: Role = "row", utility: float = 0.8, **run: Any) -> str:
        """Runs of one protocol, one a victim."""
        runs = {victim: f"{name}-{victim}" for victim in range(victims)}
        for victim, key in runs.items():
            (self.out / "runs" / key).mkdir()
            files.write_json(self.out / "runs" / key / "run.json", recorded(key, name, victim, utility, **run))
        self.groups.append(Group(name, name, "pae", role, runs))
        return name

    def entry(self, group: str, attack: str, *victims: Measured | Scored, **fields: Any) -> Entry:
        """An attack's cells, one a victim, each with one metric or with an outcome of its own."""
        about = next(one for one in self.groups if one.group == group)
        keys = {victim: self._cell(about.runs[victim], attack, one) for victim, one in enumerate(victims)}
        goal = str(ATTACKS[attack].goal)
        entry = Entry(group, fields.pop("role", about.role), attack, goal, {}, keys, **fields)
        self.entries.append(entry)
        return entry

    def _cell(self, run: str, attack: str, one: Measured | Scored) -> tuple[str, ...]:
        kind = ATTACKS[attack]
        key = f"{run}-{attack}-{len(list((self.out / 'cells').iterdir())):012x}"
        cell = Cell(key, self.out / "runs" / run, kind(), {"run": run, "attack": attack, "settings": {}})
        scored = one if isinstance(one, Scored) else scored_as(kind.goal, key, one)
        about = files.read_json(self.out / "runs" / run / "run.json")
        store.store(self.out / "cells", cell, common(cell, about, AUDIT), scored)
        return (key,)

    def point(self, curve: str, setting: str, value: Any, at: int) -> Placed:
        return Placed(curve, "pae", {}, setting, value, at)

    def compile(self) -> list[dict[str, Any]]:
        """The rows of results.jsonl."""
        Layout(tuple(self.groups), tuple(self.entries)).save(self.out)
        compile_results(self.out)
        return files.read_lines(self.out / "results.jsonl")


def recorded(key: str, label: str, victim: int, utility: float, **run: Any) -> dict[str, Any]:
    """A run.json."""
    return {
        "run": key,
        "identity": {"sizes": {}, "data": "02"},
        "label": label,
        "protocol": "pae",
        "paper_version": None,
        "settings": {},
        "defences": {},
        "budget": None,
        "example_budget": None,
        "released_budget": None,
        "labels": "own",
        "threat": {"adversary": "server"},
        "victim": victim,
        "utility": {"metric": "accuracy", "value": utility, "low": utility, "high": utility, "n": 100},
        "majority": {"value": 0.1},
        "uplink_bytes_per_sample": 10.0,
        "downlink_bytes_per_sample": 1.0,
        "device_seconds_per_sample": 0.002,
        **run,
    }


METRIC = {Goal.LABELS: "accuracy", Goal.TEXTS: "position_accuracy", Goal.MODEL: "agreement"}


def scored_as(goal: Goal, key: str, measured: Measured) -> Scored:
    """A scored cell of one metric."""
    rows = {METRIC[goal]: measured}
    return Scored("scored", None, 1.0, stated([rows], goal, key), rows)


def rows(
    share: float, blind: float = 0.2, seed: int = 0, count: int = ROWS, twins: Sequence[str] = ("prior",)
) -> Measured:
    """Rows of which that share is right, beside twins that are right on a share of their own."""
    generator = numpy.random.default_rng(seed)
    ids = tuple(f"{i:016x}" for i in range(count))
    candidates = {name: drawn(blind, count, generator) for name in twins}
    return Measured(ids, drawn(share, count, generator), candidates, candidates)


def drawn(share: float, count: int, generator: numpy.random.Generator) -> Any:
    """Exactly that share of ones, in random places."""
    values = numpy.zeros(count)
    values[: round(share * count)] = 1
    return generator.permutation(values)


def of_attack(rows_: Sequence[Mapping[str, Any]], attack: str, **wanted: Any) -> list[Mapping[str, Any]]:
    """The rows of one attack that have these fields."""
    return [row for row in rows_ if row["attack"] == attack and all(row[name] == v for name, v in wanted.items())]


__all__ = ["Made", "Scored", "drawn", "of_attack", "recorded", "replace", "rows", "scored_as"]
