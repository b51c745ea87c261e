"""This machine's cores: several runs are recorded at a time, then several attacks are run at a time.

`local` takes one at a time, `processes` one for each core. Recorders and workers are processes of one thread each; the
audit's own process judges what they guessed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ...attacks.attack import Attack
from ...system.progress import Progress
from ..cells import cell as store
from ..cells.cell import Cell
from ..planning.plan import Plan
from ..runs.recorder import Recorders, Report
from ..runs.recording import RunOrder
from ..sandbox.preparing import Shelved
from ..sandbox.workers import Broken, Done, Workers
from .desk import Cost, Desk, attack_seed, prepared_line, told
from .executor import ATTACKED, Spent


@dataclass(frozen=True)
class Cores:
    """So many runs and attacks at a time."""

    count: int
    recorders: Recorders | None = None
    """Where they were started beforehand."""

    @contextmanager
    def at_work(self, out: Path, private: Sequence[Path], progress: Progress) -> Iterator[OnCores]:
        """With workers whose server starts here and now."""
        with Workers(private=private) as workers:
            yield OnCores(self.count, workers, self.recorders)


@dataclass(frozen=True)
class OnCores:
    """The crew of one machine."""

    count: int
    workers: Workers
    recorders: Recorders | None = None

    @property
    def machine(self) -> dict[str, Any]:
        return {"cores": self.count, "sandbox": self.workers.sandbox}

    def record(self, plan: Plan, orders: Sequence[RunOrder], report: Report) -> None:
        with self.recorders or Recorders(min(self.count, len(orders))) as recorders:
            recorders.record(orders, report)

    def attack(self, plan: Plan, cells: Sequence[Cell], audit: Mapping[str, Any], progress: Progress) -> Spent:
        if self.recorders is not None:
            self.recorders.close()  # where all was recorded before, they wait in vain
        return Running(plan, self, audit, progress).run(cells)


class Attempted(NamedTuple):
    """An attack on one view."""

    cell: Cell
    twin: str
    made: Shelved | None
    outcome: Done | Broken


Outcome = Attempted | Shelved | None
Job = Callable[[], Outcome]


class Running:
    """One audit's cells, from those that wait to those that are stored."""

    def __init__(self, plan: Plan, crew: OnCores, audit: Mapping[str, Any], progress: Progress) -> None:
        self._plan, self._crew, self._progress = plan, crew, progress
        given = told(plan, plan.request.out, audit)
        self._desk = Desk(given, plan.backbone, crew.workers, progress.part)
        self._spent = Spent()

    def run(self, cells: Sequence[Cell]) -> Spent:
        """Run what is not yet scored; each cell is stored as soon as it is judged."""
        waiting = [cell for cell in cells if store.finished(self._desk.root, cell) is None]
        self._progress.begin(ATTACKED, len(waiting))
        jobs = chain(self._preparations(waiting), self._jobs(self._ready_first(waiting)))
        guessed: dict[str, dict[str, Done | Broken]] = {}
        for _, outcome in self._crew.workers.side_by_side(jobs, self._crew.count):
            if isinstance(outcome, Attempted):
                self._take(outcome, guessed)
            elif outcome is not None:
                self._progress.say(prepared_line(outcome))
        self._spent.twins = self._desk.twin_seconds
        return self._spent

    def _take(self, found: Attempted, guessed: dict[str, dict[str, Done | Broken]]) -> None:
        """Judge and store a cell when all its views were attacked."""
        cell = found.cell
        self._spent.attacks += found.outcome.seconds
        guesses = guessed.setdefault(cell.key, {})
        guesses[found.twin] = found.outcome
        assert isinstance(cell.attack, Attack)
        if len(guesses) == len(store.views(cell.attack)):
            del guessed[cell.key]
            self._stored(self._desk.store(cell, self._desk.judge(cell, guesses), Cost(guesses, found.made)))

    def _stored(self, line: str) -> None:
        self._progress.say(line)
        self._progress.advance(ATTACKED)

    def _preparations(self, waiting: Sequence[Cell]) -> Iterator[Job]:
        """What is prepared for several cells, each once: beforehand, so that hardly a cell waits for another's."""
        known = set()
        for cell in waiting:
            key = None if self._desk.inapplicable(cell) else self._desk.key_of(cell)
            if key is not None and key not in known and not self._desk.shelf.holds(key):
                known.add(key)
                yield partial(self._prepare, cell)

    def _prepare(self, cell: Cell) -> Shelved | None:
        """A failure is remembered by the shelf, and is every cell's that needs it."""
        made = self._desk.prepare(cell)
        return made if isinstance(made, Shelved) else None

    def _ready_first(self, waiting: Iterable[Cell]) -> Iterator[Cell]:
        """The cells in their order, but those whose preparation another job still makes go last: no core waits."""
        late: list[Cell] = []
        for cell in waiting:
            key = None if self._desk.inapplicable(cell) else self._desk.key_of(cell)
            if key is None or self._desk.shelf.holds(key):
                yield cell
            else:
                late.append(cell)
        yield from late

    def _jobs(self, waiting: Iterable[Cell]) -> Iterator[Job]:
        """The jobs of what applies; what does not is stored with its reason."""
        for cell in waiting:
            if why := self._desk.inapplicable(cell):
                self._stored(self._desk.store(cell, why))
                continue
            assert isinstance(cell.attack, Attack)
            for twin in store.views(cell.attack):
                yield partial(self._attempt, cell, twin)

    def _attempt(self, cell: Cell, twin: str) -> Attempted:
        """Run an attack with what it prepared; called in a thread."""
        made, seed = self._desk.prepare(cell), attack_seed(self._plan, cell)
        outcome = self._desk.attempt(cell, twin, seed, made, f"{cell.key}-{twin or 'view'}")
        return Attempted(cell, twin, made if isinstance(made, Shelved) else None, outcome)
