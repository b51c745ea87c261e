"""Whether audits of promised privacy raise no false alarm and see every planted bug.

    python -m sidelight.audits.proofs.privacy [--seeds 20] [--backbone sidelight-tiny] [--processes 2]

Every promise that is kept is audited once a seed, and so is every planted bug. A lower bound above the promise of a
correct mechanism is a false alarm: none may be among the seeds, and none of these audits may be one that could not
fail. A bug must be seen under every seed. Leaves with 1 where it is otherwise. 20 seeds take ten minutes of processor
time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ...system.backbone import Backbone, load_backbone
from ...system.data import Sample
from ...system.protocols import Scene
from ...system.randomness import Streams
from ...system.roles import DEVICE
from ..privacy.auditing import audit
from ..privacy.bounds import CONFIDENCE
from ..privacy.found import Found
from .privacy_mistakes import BROKEN, KEPT, Case

WIDTH = 130
"""Columns of the tables in a file."""
LABELS = tuple(f"class {letter}" for letter in "abcdefghij")
ROWS = 600
"""Examples of a run, as far as an accountant cares."""


@dataclass(frozen=True)
class Outcome:
    """What audits of one case found, a bound a seed."""

    case: Case
    promised: float
    most: float
    """What these audits could show."""
    found: tuple[float, ...]

    @property
    def above(self) -> int:
        """Bounds above the promise."""
        return sum(one > self.promised for one in self.found)


def scene_of(backbone: Backbone, seed: int) -> Scene:
    """A run's scene; audits bring canaries in place of its samples."""
    samples = tuple(Sample(f"{i:016x}", "", LABELS[0], ()) for i in range(ROWS))
    return Scene(backbone, LABELS, {DEVICE: samples}, Streams(f"privacy proof {seed}"))


def found_of(case: Case, backbone: Backbone, seed: int) -> Found:
    """What one audit of a case shows."""
    scene = scene_of(backbone, seed)
    found = audit(case.promise(scene), scene.streams.of("privacy audits"))
    assert found is not None
    return found


def promised(case: Case, backbone: Backbone) -> float:
    """The epsilon that a case says it keeps, whatever the seed."""
    budget = case.promise(scene_of(backbone, 0)).budget
    assert budget is not None
    return budget.epsilon


@lru_cache(maxsize=1)
def _loaded(backbone: str) -> Backbone:
    torch.set_num_threads(1)
    return load_backbone(backbone)


def _found(at: int, backbone: str, seed: int) -> Found:
    return found_of((*KEPT, *BROKEN)[at], _loaded(backbone), seed)


def audit_all(seeds: int, backbone: str, processes: int, advance: Callable[[], None]) -> list[Outcome]:
    """The outcome of every case, those that are kept before those that are broken."""
    cases = (*KEPT, *BROKEN)
    with ProcessPoolExecutor(processes) as pool:
        jobs = {
            pool.submit(_found, at, backbone, seed): (at, seed) for at in range(len(cases)) for seed in range(seeds)
        }
        found = {}
        for done in as_completed(jobs):
            found[jobs[done]] = done.result()
            advance()
    return [
        outcome(case, _loaded(backbone), [found[at, seed] for seed in range(seeds)]) for at, case in enumerate(cases)
    ]


def outcome(case: Case, backbone: Backbone, found: Sequence[Found]) -> Outcome:
    """What audits of a case found together."""
    most = min(one.epsilon_most for one in found)
    return Outcome(case, promised(case, backbone), most, tuple(one.epsilon_low for one in found))


def report(outcomes: Sequence[Outcome], console: Console) -> bool:
    """Print both tables; whether no promise that is kept was called broken, though it could be, and every bug seen."""
    kept, broken = outcomes[: len(KEPT)], outcomes[len(KEPT) :]
    console.print(_table(f"Promises that are kept, audited at {CONFIDENCE:.2%} each", "false alarms", kept))
    console.print(_table("Planted bugs: each must be seen", "seen", broken))
    passed = all(not one.above and one.most > one.promised for one in kept)
    return passed and all(one.above == len(one.found) for one in broken)


def _table(title: str, last: str, outcomes: Sequence[Outcome]) -> Table:
    table = Table(title=title)
    for name in ("mechanism", "promised epsilon", "lower bounds: least", "mean", "most", "could be", last):
        table.add_column(name, overflow="fold")
    for one in outcomes:
        low, high, mean = min(one.found), max(one.found), sum(one.found) / len(one.found)
        numbers = (one.promised, low, mean, high, one.most)
        table.add_row(one.case.told, *(f"{number:.2f}" for number in numbers), f"{one.above} of {len(one.found)}")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and say by the exit status whether all is as it must be."""
    parser = argparse.ArgumentParser(prog="privacy", description="Audits promises that are kept, and planted bugs.")
    parser.add_argument("--seeds", type=int, default=20, help="audits of each")
    parser.add_argument("--backbone", default="sidelight-tiny")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    if min(given.seeds, given.processes) < 1:
        parser.error("--seeds and --processes must be at least 1")
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("audits", total=given.seeds * (len(KEPT) + len(BROKEN)))
        outcomes = audit_all(given.seeds, given.backbone, given.processes, partial(bars.advance, task))
    return 0 if report(outcomes, console) else 1


if __name__ == "__main__":
    sys.exit(main())
