"""What one process does for a cell: it attacks it apart, judges the guesses, and stores the outcome by one rename."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...attacks.attack import Attack
from ...system import files
from ...system.backbone import TINY, Backbone, local_folder
from ...system.errors import place
from ...system.public import Public, load_public
from ...system.randomness import Streams
from ...system.settings import named
from ..cells import cell as store
from ..cells.applies import outside
from ..cells.cell import Cell, Scored
from ..cells.fields import common
from ..cells.judging import Judge
from ..cells.scoring import PRIMARY
from ..planning.plan import Plan
from ..sandbox.prepared_key import prepared_key, reference, studied_by
from ..sandbox.preparing import Report, Shelf, Shelved, prepares
from ..sandbox.readable import model_folders
from ..sandbox.workers import Broken, Done, Limits, Task, Workers

OPEN_RUNS = 4
"""Runs that stay in memory: their cells come one after another."""

Guesses = Mapping[str, Done | Broken]
"""Of one cell, by the view that was attacked."""


@dataclass(frozen=True)
class Told:
    """What whoever attacks an audit's cells must know; plain values, because they may cross to another machine."""

    out: str
    backbone: str
    """Packaged name or local folder, as a recorder is told it."""
    digest: str
    """Of the backbone."""
    audit: Mapping[str, Any]
    """What every result repeats of the audit."""
    seconds: float
    """Of one attack."""
    prepare_seconds: float
    memory: int
    """Resident bytes."""


def told(plan: Plan, out: Path, audit: Mapping[str, Any]) -> Told:
    """What the plan says of it."""
    limits = plan.request.suite.limits
    return Told(
        out=str(out),
        backbone=TINY if plan.folder == local_folder(TINY) else str(plan.folder.resolve()),
        digest=plan.backbone.digest,
        audit=audit,
        seconds=limits.seconds,
        prepare_seconds=limits.prepare_seconds,
        memory=int(limits.memory_gib * (1 << 30)),
    )


@dataclass(frozen=True)
class Run:
    """A recorded run as its cells need it before anything private is opened."""

    about: Mapping[str, Any]
    """run.json."""
    public: Public


class Runs:
    """Recorded runs, a few of them in memory."""

    def __init__(self) -> None:
        self.of = lru_cache(maxsize=OPEN_RUNS)(_open)


def _open(run: Path) -> Run:
    return Run(files.read_json(run / "run.json"), load_public(run / "public"))


def inapplicable(cell: Cell, run: Run) -> Scored | None:
    """The outcome of an attack that does not apply to its run or cannot be scored; None where it does and can."""
    if cell.attack.goal not in PRIMARY:
        return Scored("failed", f"the goal {str(cell.attack.goal)!r} has no scorer in this version")
    assert isinstance(cell.attack, Attack)
    why = outside(cell.attack, frozenset(run.about["shows"]), run.public.items, run.public.facts)
    return Scored(why.status, why.reason) if why else None


def key_of(cell: Cell, run: Run, given: Told) -> str | None:
    """The name of what a cell's attack prepares; None where it prepares nothing."""
    attack = cell.attack
    if not isinstance(attack, Attack) or not prepares(attack):
        return None
    return prepared_key(attack, *studied_by(attack, cell.settings, run.public), given.digest)


def attack_seed(plan: Plan, cell: Cell) -> int:
    """Of an attack's own randomness; it tells nothing of the audit's seed.

    Both guesses of a cell draw from one stream, so that only the view differs between an attack and its twin.
    """
    return Streams(plan.seed).of("attacks").integer(cell.key)


class Desk:
    """One process's place of work; `prepare` and `attempt` may be called from several threads."""

    def __init__(self, given: Told, backbone: Backbone, workers: Workers, part: Report | None = None) -> None:
        self._told, self._workers, self._open = given, workers, Runs().of
        self._out = Path(given.out)
        self.root = self._out / "cells"
        self.shelf = Shelf(self._out / "prepared", workers, Limits(given.prepare_seconds, given.memory), part)
        self._judge = lru_cache(maxsize=OPEN_RUNS)(lambda run: Judge(run, backbone))
        self.twin_seconds = 0.0
        """Processor time of all twins so far."""

    def inapplicable(self, cell: Cell) -> Scored | None:
        """As the function."""
        return inapplicable(cell, self._open(cell.run))

    def key_of(self, cell: Cell) -> str | None:
        """As the function."""
        return key_of(cell, self._open(cell.run), self._told)

    def prepare(self, cell: Cell) -> Shelved | Broken | None:
        """What a cell's attack prepared, made where it is not there; None where it prepares nothing."""
        assert isinstance(cell.attack, Attack)
        public = self._open(cell.run).public
        return self.shelf.ensure(cell.attack, cell.settings, public, self._told.digest, model_folders(public))

    def attempt(self, cell: Cell, twin: str, seed: int, made: Shelved | Broken | None, scratch: str) -> Done | Broken:
        """Run a cell's attack on its view, or on the view's twin, with what it prepared."""
        assert isinstance(cell.attack, Attack)
        if isinstance(made, Broken):
            return made
        task = Task(
            attack=reference(cell.attack),
            settings=cell.settings,
            view=cell.run / "view",
            public=cell.run / "public",
            scratch=self._out / "scratch" / scratch,
            seed=seed,
            twin=twin,
            readable=model_folders(self._open(cell.run).public),
            prepared=made.path if made else None,
        )
        return self._workers.run(task, Limits(self._told.seconds, self._told.memory))

    def judge(self, cell: Cell, guesses: Guesses) -> Scored:
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

    def store(self, cell: Cell, scored: Scored, cost: Cost | None = None, sandbox: str | None = None) -> str:
        """Store a cell's outcome; returns its line of progress. `sandbox` is the attack's, where others may differ."""
        audit = self._told.audit if sandbox is None else {**self._told.audit, "sandbox": sandbox}
        return stored(self.root, cell, self._open(cell.run), audit, scored, cost)


@dataclass(frozen=True)
class Cost:
    """What a cell took beside its own seconds."""

    guesses: Guesses = field(default_factory=dict)
    made: Shelved | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """What is stored of it."""
        peaks = [guess.peak_bytes for guess in self.guesses.values()] + ([self.made.peak_bytes] if self.made else [])
        peak = {"peak_mib": round(max(peaks) / 2**20) if any(peaks) else None}
        return {**peak, "prepare_seconds": self.made.seconds} if self.made else peak


def stored(root: Path, cell: Cell, run: Run, audit: Mapping[str, Any], scored: Scored, cost: Cost | None = None) -> str:
    """Store a cell's outcome with what every cell says of its run and its cost; returns its line of progress."""
    fields = {**common(cell, run.about, audit), **(cost or Cost()).fields}
    store.store(root, cell, fields, scored)
    return line(cell, fields["label"], scored)


def line(cell: Cell, label: str, scored: Scored) -> str:
    """A cell's progress line."""
    where = f"{label}: {named(cell.attack.name, cell.changed)}"
    if scored.status != "scored":
        return f"{scored.status.upper()} {where}: {scored.reason}"
    first = scored.metrics[0]
    return f"attacked {where}: {first['metric']} {first['value']:.3f}"


def prepared_line(made: Shelved) -> str:
    """A preparation's progress line."""
    return f"prepared {made.key.rpartition('-')[0]} in {made.seconds:.0f} s"
