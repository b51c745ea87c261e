"""A cell: an attack on a recorded run, and the folder that keeps what it guessed and how each row was scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy
import torch

from ...attacks.attack import Attack, Goal, Guess, Needs
from ...system import files, folder
from ...system.errors import SidelightError
from ...system.settings import changed
from ..sandbox import guess_files
from ..statistics import Measured

WHOLE, SHUFFLED = "", "shuffled"
"""The view as it is, and the twin whose samples are filed under each other's ids."""

SIDES = ("outsider", "rest")
"""Of the twins."""


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
    shuffled: Guess | None = None
    """The guess on the view whose samples are filed under each other's ids."""
    examples: Sequence[Mapping[str, Any]] = ()
    roc: Mapping[str, Any] | None = None
    """Of a guess of membership: its curve, and what follows from it."""


def store(root: Path, cell: Cell, fields: Mapping[str, Any], scored: Scored) -> None:
    """Write a cell's folder by one rename; it replaces a failed one."""
    outcome = {"status": scored.status, "reason": scored.reason, "seconds": scored.seconds, "roc": scored.roc}
    record = {"identity": dict(cell.identity), "fields": {**fields, **outcome}, "metrics": list(scored.metrics)}
    with files.whole(root / cell.key) as partial:
        files.write_json(partial / "result.json", record)
        files.write_lines(partial / "examples.jsonl", scored.examples)
        _store_rows(partial, scored.measured)
        for name, guess in ((WHOLE, scored.guess), (SHUFFLED, scored.shuffled)):
            if guess is not None:
                (partial / name).mkdir(exist_ok=True, mode=files.PRIVATE)
                guess_files.save(guess, partial / name)


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


def read_guess(root: Path, key: str, view: str = WHOLE) -> Guess | None:
    """A cell's stored guess on a view; None where it has none."""
    folder_ = root / key / view
    return guess_files.load(folder_) if (folder_ / guess_files.INDEX).exists() else None


def read_rows(root: Path, key: str) -> dict[str, Measured]:
    """By metric, the stored score of each row and of its twins, everything in its stored order."""
    tensors = folder.read_tensors(root / key / "scores.safetensors")
    columns = {name: values.numpy().astype(numpy.float64) for name, values in tensors.items()}
    measured = {}
    for about in files.read_json(root / key / "ids.json"):
        metric = about["metric"]
        sides = [{name: columns[f"{metric}/{side}/{name}"] for name in about[side]} for side in SIDES]
        rows = columns[f"{metric}/attack/"]
        direction = about.get("direction", "higher")  # older cells do not say
        measured[metric] = Measured(tuple(about["ids"]), rows, sides[0], sides[1], about["blind"], direction)
    return measured


def _store_rows(partial: Path, measured: Mapping[str, Measured]) -> None:
    tensors = {name: torch.from_numpy(values) for metric, m in measured.items() for name, values in _columns(metric, m)}
    folder.write_tensors(partial / "scores.safetensors", tensors)
    about = [
        {
            "metric": metric,
            "ids": list(m.ids),
            "blind": m.blind,
            "direction": m.direction,
            **{side: list(getattr(m, side)) for side in SIDES},
        }
        for metric, m in measured.items()
    ]
    files.write_json(partial / "ids.json", about)


def _columns(metric: str, measured: Measured) -> Iterator[tuple[str, Any]]:
    yield f"{metric}/attack/", measured.attack
    for side in SIDES:
        for name, values in getattr(measured, side).items():
            # candidates of the two sides may share one array, which safetensors refuses to store twice
            yield f"{metric}/{side}/{name}", values.copy()


def views(attack: Attack) -> tuple[str, ...]:
    """The views that an attack runs on: its own and, where a guess names samples, its shuffled twin's."""
    return (WHOLE, SHUFFLED) if attack.linked and attack.goal in (Goal.LABELS, Goal.TEXTS) else (WHOLE,)
