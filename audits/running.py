"""Runs a plan's cells: each attacked apart, judged and stored before the next but a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from ..attacks.attack import Attack
from ..system import files
from ..system.errors import SidelightError, place
from ..system.progress import Progress
from ..system.public import Public, load_public
from ..system.randomness import Streams
from ..system.settings import named
from .cells import cell as store
from .cells.applies import outside
from .cells.cell import Cell, Scored
from .cells.fields import common
from .cells.judging import Judge
from .cells.scoring import PRIMARY
from .planning.plan import Plan
from .sandbox.prepared_key import reference
from .sandbox.preparing import Shelf, Shelved, prepares
from .sandbox.readable import model_folders
from .sandbox.workers import Broken, Done, Limits, Task, Workers

OPEN_RUNS = 4
"""Runs that stay in memory: their cells come one after another."""

ATTACKED = "attacked"

Outcome = Done | Broken | Shelved | None
Job = Callable[[], Outcome]


@dataclass(frozen=True)
class Run:
    """A recorded run as its cells need it before anything private is opened."""

    about: Mapping[str, Any]
    """run.json."""
    public: Public


class Running:
    """One audit's cells, from those that wait to those that are stored."""

    def __init__(self, plan: Plan, workers: Workers, audit: Mapping[str, Any], progress: Progress) -> None:
        self._plan, self._workers, self._audit, self._progress = plan, workers, audit, progress
        self._root = plan.request.out / "cells"
        limits = plan.request.suite.limits
        self._memory = int(limits.memory_gib * (1 << 30))
        shelf_limits = Limits(limits.prepare_seconds, self._memory)
        self._shelf = Shelf(plan.request.out / "prepared", workers, shelf_limits, progress.part)
        self._prepared: dict[str, Shelved] = {}
        self._peaks: dict[str, int] = {}
        """Most resident bytes of the workers of a cell that is not yet stored."""
        self.attack_seconds = self.twin_seconds = 0.0
        """Own time of all attacks so far, shuffled ones among them, and of the harness's own twins."""
        self._open = lru_cache(maxsize=OPEN_RUNS)(_open)
        self._judge = lru_cache(maxsize=OPEN_RUNS)(lambda run: Judge(run, plan.backbone))

    def run(self, cells: Sequence[Cell]) -> None:
        """Run what is not yet scored; each cell is stored as soon as it is judged."""
        waiting = [cell for cell in cells if store.finished(self._root, cell) is None]
        self._progress.begin(ATTACKED, len(waiting))
        asked: list[tuple[Cell, str] | None] = []
        jobs = chain(self._preparations(waiting, asked), self._jobs(waiting, asked))
        outcomes: dict[str, dict[str, Done | Broken]] = {}
        for at, outcome in self._workers.side_by_side(jobs, self._plan.request.processes):
            if (of := asked[at]) is None:  # a failure is remembered by the shelf, and is every cell's that needs it
                if isinstance(outcome, Shelved):
                    self._progress.say(f"prepared {outcome.key.rpartition('-')[0]} in {outcome.seconds:.0f} s")
                continue
            cell, twin = of
            assert isinstance(outcome, Done | Broken)
            self.attack_seconds += outcome.seconds
            self._peaks[cell.key] = max(self._peaks.get(cell.key, 0), outcome.peak_bytes)
            guesses = outcomes.setdefault(cell.key, {})
            guesses[twin] = outcome
            assert isinstance(cell.attack, Attack)
            if len(guesses) == len(store.views(cell.attack)):
                del outcomes[cell.key]
                self._store(cell, self._judged(cell, guesses))

    def _preparations(self, waiting: Sequence[Cell], asked: list[tuple[Cell, str] | None]) -> Iterator[Job]:
        """What is prepared for several cells, each once: beforehand, so that hardly a cell waits for another's."""
        known = set()
        for cell in waiting:
            attack = cell.attack
            if not isinstance(attack, Attack) or not prepares(attack) or self._inapplicable(cell):
                continue
            public = self._open(cell.run).public
            key = self._shelf.key_of(attack, cell.settings, public, self._plan.backbone.digest)
            if key not in known and not self._shelf.holds(key):
                known.add(key)
                asked.append(None)
                yield partial(self._prepare, attack, cell.settings, public)

    def _prepare(self, attack: Attack, settings: Mapping[str, Any], public: Public) -> Shelved | Broken | None:
        return self._shelf.ensure(attack, settings, public, self._plan.backbone.digest, model_folders(public))

    def _jobs(self, waiting: Sequence[Cell], asked: list[tuple[Cell, str] | None]) -> Iterator[Job]:
        """The jobs of what applies, noted in `asked`; what does not is stored with its reason."""
        for cell in waiting:
            if why := self._inapplicable(cell):
                self._store(cell, why)
                continue
            public = self._open(cell.run).public
            assert isinstance(cell.attack, Attack)
            for twin in store.views(cell.attack):
                asked.append((cell, twin))
                yield partial(self._attack, cell, twin, public)

    def _attack(self, cell: Cell, twin: str, public: Public) -> Done | Broken:
        """Run an attack with what it prepared; called in a thread."""
        assert isinstance(cell.attack, Attack)
        made = self._prepare(cell.attack, cell.settings, public)
        if isinstance(made, Broken):
            return made
        if made is not None:
            self._prepared[cell.key] = made
        limits = Limits(self._plan.request.suite.limits.seconds, self._memory)
        return self._workers.run(self._task(cell, twin, made.path if made else None), limits)

    def _inapplicable(self, cell: Cell) -> Scored | None:
        """The outcome of an attack that does not apply to its run or cannot be scored; None where it does and can."""
        run = self._open(cell.run)
        if cell.attack.goal not in PRIMARY:
            return Scored("failed", f"the goal {str(cell.attack.goal)!r} has no scorer in this version")
        assert isinstance(cell.attack, Attack)
        why = outside(cell.attack, frozenset(run.about["shows"]), run.public.items, run.public.facts)
        return Scored(why.status, why.reason) if why else None

    def _task(self, cell: Cell, twin: str, prepared: Path | None) -> Task:
        """What a worker is told: nothing private."""
        assert isinstance(cell.attack, Attack)
        return Task(
            attack=reference(cell.attack),
            settings=cell.settings,
            view=cell.run / "view",
            public=cell.run / "public",
            scratch=self._plan.request.out / "scratch" / f"{cell.key}-{twin or 'view'}",
            # both guesses draw from one stream, so that only the view differs between an attack and its twin
            seed=Streams(self._plan.seed).of("attacks").integer(cell.key),
            twin=twin,
            readable=model_folders(self._open(cell.run).public),
            prepared=prepared,
        )

    def _judged(self, cell: Cell, guesses: Mapping[str, Done | Broken]) -> Scored:
        """The score of a cell's guesses; whatever goes wrong in scoring it fails this cell and no other."""
        mine = guesses[store.WHOLE]
        try:
            judge = self._judge(cell.run)
            before = judge.twin_seconds
            scored = judge.judge(cell, mine, guesses.get(store.SHUFFLED))
            self.twin_seconds += judge.twin_seconds - before
            return scored
        except Exception as error:  # a scorer meets guesses that nobody foresaw
            return Scored("failed", f"scoring failed: {place(error)}", mine.seconds)

    def _store(self, cell: Cell, scored: Scored) -> None:
        made, peak = self._prepared.pop(cell.key, None), self._peaks.pop(cell.key, 0)
        fields = common(cell, self._open(cell.run).about, self._audit)
        if made:
            peak = max(peak, made.peak_bytes)
            fields["prepare_seconds"] = made.seconds
        fields["peak_mib"] = round(peak / 2**20) if peak else None
        store.store(self._root, cell, fields, scored)
        self._progress.say(line(cell, fields["label"], scored))
        self._progress.advance(ATTACKED)


def _open(run: Path) -> Run:
    return Run(files.read_json(run / "run.json"), load_public(run / "public"))


def line(cell: Cell, label: str, scored: Scored) -> str:
    """A cell's progress line."""
    where = f"{label}: {named(cell.attack.name, cell.changed)}"
    if scored.status != "scored":
        return f"{scored.status.upper()} {where}: {scored.reason}"
    first = scored.metrics[0]
    return f"attacked {where}: {first['metric']} {first['value']:.3f}"


def refuse_mixed(run: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a recorded run whose name stands for other settings than it was made with."""
    path = run / "run.json"
    if path.exists() and files.read_json(path)["identity"] != identity:
        raise SidelightError(f"runs/{run.name} was made with other settings than its name stands for; remove it")
