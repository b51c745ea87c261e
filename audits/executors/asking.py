"""An audit's cells on their way through a cluster: which tasks they are, and which of them wait for which."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...attacks.attack import Attack
from ...system.progress import Progress
from ..cells import cell as store
from ..cells.cell import Cell, Scored
from ..planning.plan import Plan
from ..sandbox.preparing import Shelved, shelved
from . import station
from .desk import Runs, Told, attack_seed, inapplicable, key_of, prepared_line, stored
from .executor import ATTACKED, Spent
from .station import Answer, Lost

if TYPE_CHECKING:
    from .cluster import Cluster

Group = tuple[Cell, ...]
"""Cells that are judged together; none where a task prepares."""


class Asking:
    """One audit's cells on their way through a cluster."""

    def __init__(self, cluster: Cluster, plan: Plan, given: Told, progress: Progress) -> None:
        self._cluster, self._plan, self._told, self._progress = cluster, plan, given, progress
        self._root, self._open, self._spent = Path(given.out) / "cells", Runs().of, Spent()
        self._line = json.dumps(asdict(given))
        self._prepare, self._attempt, self._judge = map(cluster.task, (station.prepare, station.attempt, station.judge))
        self._prepared: dict[str, Any] = {}
        """By cell, the task that prepares for it."""

    def run(self, cells: Sequence[Cell]) -> Spent:
        """Ask for what applies and is not yet scored; what does not apply is stored with its reason."""
        waiting = [cell for cell in cells if store.finished(self._root, cell) is None]
        self._progress.begin(ATTACKED, len(waiting))
        applying = list(self._applying(waiting))
        asked = chain(self._preparations(applying), self._groups(applying))
        for group, answer in self._cluster.finished(asked):
            self._take(group, answer)
        return self._spent

    def _applying(self, waiting: Sequence[Cell]) -> Iterator[Cell]:
        for cell in waiting:
            if why := inapplicable(cell, self._open(cell.run)):
                self._store(cell, why)
            else:
                yield cell

    def _preparations(self, cells: Sequence[Cell]) -> Iterator[tuple[Any, Group]]:
        """One task for each preparation that several cells may share, before all others."""
        known: dict[str, Any] = {}
        for cell in cells:
            key = key_of(cell, self._open(cell.run), self._told)
            if key is None or shelved(Path(self._told.out) / "prepared", key):
                continue
            if key not in known:
                known[key] = self._prepare(self._line, json.dumps(station.told_cell(cell)))
                yield known[key], ()
            self._prepared[cell.key] = known[key]

    def _groups(self, cells: Sequence[Cell]) -> Iterator[tuple[Any, Group]]:
        """One task for the judging of cells of one run that share their twins, behind one for each view attacked."""
        groups: dict[Any, list[Cell]] = {}
        for cell in cells:
            assert isinstance(cell.attack, Attack)
            sides = (cell.run, cell.attack.goal, cell.attack.attacked, cell.attack.linked)
            groups.setdefault(sides, []).append(cell)
        for group in groups.values():
            attempts = [attempt for cell in group for attempt in self._attempts(cell)]
            told_cells = json.dumps([station.told_cell(cell) for cell in group])
            yield self._judge(self._line, told_cells, *attempts), tuple(group)

    def _attempts(self, cell: Cell) -> Iterator[Any]:
        assert isinstance(cell.attack, Attack)
        prepared = [self._prepared[cell.key]] if cell.key in self._prepared else []
        for twin in store.views(cell.attack):
            asked = {"cell": station.told_cell(cell), "twin": twin, "seed": attack_seed(self._plan, cell)}
            yield self._attempt(self._line, json.dumps(asked), *prepared)

    def _take(self, group: Group, answer: Answer | Lost) -> None:
        if isinstance(answer, Lost):
            for cell in group:
                self._store(cell, Scored("failed", str(answer)))
        elif group:
            self._spent.add(answer["attacks"], answer["twins"], answer["elsewhere"])
            for line in answer["lines"]:
                self._said(line)
        elif isinstance(made := station.made_of(answer), Shelved):
            self._progress.say(prepared_line(made))

    def _store(self, cell: Cell, scored: Scored) -> None:
        self._said(stored(self._root, cell, self._open(cell.run), self._told.audit, scored))

    def _said(self, line: str) -> None:
        self._progress.say(line)
        self._progress.advance(ATTACKED)
