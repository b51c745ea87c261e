"""What a finished audit has to say to a budget: its groups of runs, each with its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...system import files
from .budget import Limit
from .check import Subject

Row = Mapping[str, Any]
HELD = ("row", "point")
"""Roles of rows that a limit may take in."""


@dataclass(frozen=True)
class Group:
    """The runs of one protocol with its settings, one a victim, and what attacks found on them."""

    about: Mapping[str, Any]
    """Its line of groups.jsonl."""
    runs: Mapping[int, Mapping[str, Any] | None]
    """By victim, run.json; None where the run was not recorded."""
    rows: list[Row] = field(default_factory=list)

    @property
    def label(self) -> str:
        return str(self.about["label"])

    @property
    def protocol(self) -> str:
        return str(self.about["protocol"])

    @property
    def threat(self) -> Mapping[str, Any] | None:
        """Of its runs, which have it in common; None where none was recorded."""
        return next((run["threat"] for run in self.runs.values() if run), None)

    @property
    def shows(self) -> frozenset[str]:
        """What the adversary received or holds in any of the runs."""
        return frozenset(kind for run in self.runs.values() if run for kind in run["shows"])

    @property
    def silent(self) -> bool:
        """Whether it is known that nothing reached the adversary."""
        return all(self.runs.values()) and not self.shows

    def held(self, limit: Limit) -> bool:
        """Whether its runs are held to a limit."""
        roles = {self.about["role"], *(row["role"] for row in self.rows)}
        return bool(roles & set(limit.roles)) and limit.holds_for(self.protocol, self.label, self.threat)

    def unaudited(self, goal: str | None) -> tuple[str, ...]:
        """What reached the adversary and no scored attack with a goal takes."""
        scored = (row for row in self.rows if row["goal"] == goal and row["status"] == "scored")
        return tuple(sorted(self.shows - {kind for row in scored for kind in row["consumes"]}))

    def subject(self, victim: int | None = None, **own: Any) -> Subject:
        """Its runs, or one victim's, as a check names them."""
        alone, threat = None if len(self.runs) == 1 else victim, self.threat or {}
        known = int(threat.get("known_labels", 0))
        return Subject(self.protocol, self.label, str(threat.get("adversary", "")), known, victim=alone, **own)


def read_groups(out: Path) -> Sequence[Group]:
    """Every group of an audit with its rows of the table and its points; controls and victims' parts stay out."""
    groups = {about["group"]: Group(about, _runs(out, about)) for about in files.read_lines(out / "groups.jsonl")}
    for row in files.iterate_lines(out / "results.jsonl"):
        if row["role"] in HELD:
            groups[row["group"]].rows.append(row)
    return tuple(groups.values())


def _runs(out: Path, about: Mapping[str, Any]) -> dict[int, Mapping[str, Any] | None]:
    paths = {v: out / "runs" / key / "run.json" for v, key in zip(about["victims"], about["runs"], strict=True)}
    return {victim: files.read_json(path) if path.exists() else None for victim, path in paths.items()}
