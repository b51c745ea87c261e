"""A cell: an attack on a recorded run, and the folder that keeps what it guessed and how each row was scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy
import torch

from ...attacks.attack import Goal, Guess, Needs
from ...system import files, folder
from ...system.errors import SidelightError
from ..sandbox import guess_files
from ..statistics import Measured
from ..suites.settings import changed

WHOLE, SHUFFLED = "", "shuffled"
"""The view as it is, and the twin whose samples are filed under each other's ids."""

BLIND = "blind"
"""Entry of ids.json that holds the metrics whose chance level is known exactly."""


class Contender(Protocol):
    """What stands behind a cell: an attack, or the harness's combination of several."""

    @property
    def name(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def goal(self) -> Goal: ...
    @property
    def needs(self) -> Needs: ...


@dataclass(frozen=True)
class Cell:
    """An attack with its settings on a recorded run, with one of the attacker's seeds."""

    key: str
    run: Path
    attack: Contender
    identity: Mapping[str, Any]
    """What the key digests: everything that can change the cell's numbers."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """All of the attack's settings."""
        settings: Mapping[str, Any] = self.identity["settings"]
        return settings

    @property
    def changed(self) -> dict[str, Any]:
        """Settings that differ from the attack's defaults; all of them where it cannot be built without any."""
        try:
            default = asdict(type(self.attack)())  # type: ignore[call-overload]
        except TypeError:
            return dict(self.settings)
        return changed(self.settings, default)


@dataclass(frozen=True)
class Scored:
    """The outcome of a cell."""

    status: str
    """scored, not_exposed, not_applicable or failed."""
    reason: str | None = None
    seconds: float | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    """The numbers of each metric on this victim."""
    measured: Mapping[str, Measured] = field(default_factory=dict)
    """By metric, the score of each row and of its twins."""
    guess: Guess | None = None
    examples: Sequence[Mapping[str, Any]] = ()


def store(root: Path, cell: Cell, fields: Mapping[str, Any], scored: Scored) -> None:
    """Write a cell's folder by one rename; it replaces a failed one."""
    outcome = {"status": scored.status, "reason": scored.reason, "seconds": scored.seconds}
    record = {"identity": dict(cell.identity), "fields": {**fields, **outcome}, "metrics": list(scored.metrics)}
    with files.whole(root / cell.key) as partial:
        files.write_json(partial / "result.json", record)
        files.write_lines(partial / "examples.jsonl", scored.examples)
        _store_rows(partial, scored.measured)
        if scored.guess is not None:
            guess_files.save(scored.guess, partial)


def finished(root: Path, cell: Cell) -> dict[str, Any] | None:
    """A cell's stored record; None where there is none or it failed, so that it runs again.

    SidelightError where the folder holds a cell of other settings: its numbers would be taken for this one's.
    """
    path = root / cell.key / "result.json"
    if not path.exists():
        return None
    record = read(root, cell.key)
    if record["identity"] != cell.identity:
        raise SidelightError(f"cells/{cell.key} was made with other settings than its name stands for; remove it")
    return None if record["fields"]["status"] == "failed" else record


def read(root: Path, key: str) -> dict[str, Any]:
    """A cell's stored record."""
    record: dict[str, Any] = files.read_json(root / key / "result.json")
    return record


def read_rows(root: Path, key: str) -> dict[str, Measured]:
    """By metric, the stored score of each row and of its twins."""
    ids = files.read_json(root / key / "ids.json")
    blind = ids.pop(BLIND)
    sides: dict[str, dict[str, dict[str, Any]]] = {metric: {"attack": {}, "outsider": {}, "rest": {}} for metric in ids}
    for name, values in folder.read_tensors(root / key / "scores.safetensors").items():
        metric, side, candidate = name.split("/", 2)
        sides[metric][side][candidate] = values.numpy().astype(numpy.float64)
    return {
        metric: Measured(
            tuple(ids[metric]), side["attack"][""], side["outsider"], side["rest"], blind=blind.get(metric)
        )
        for metric, side in sides.items()
    }


def _store_rows(partial: Path, measured: Mapping[str, Measured]) -> None:
    tensors = {name: torch.from_numpy(values) for metric, m in measured.items() for name, values in _columns(metric, m)}
    folder.write_tensors(partial / "scores.safetensors", tensors)
    blind = {metric: m.blind for metric, m in measured.items() if m.blind is not None}
    files.write_json(partial / "ids.json", {**{metric: list(m.ids) for metric, m in measured.items()}, BLIND: blind})


def _columns(metric: str, measured: Measured) -> Iterator[tuple[str, Any]]:
    yield f"{metric}/attack/", measured.attack
    for side, candidates in (("outsider", measured.outsider), ("rest", measured.rest)):
        for name, values in candidates.items():
            # candidates of the two sides may share one array, which safetensors refuses to store twice
            yield f"{metric}/{side}/{name}", values.copy()


def views(goal: Goal) -> tuple[str, ...]:
    """The views that an attack runs on: its own and, where a guess has a row a sample, its shuffled twin's."""
    return (WHOLE, SHUFFLED) if goal in (Goal.LABELS, Goal.TEXTS) else (WHOLE,)
