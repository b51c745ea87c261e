"""What every executor offers: a crew that records runs and attacks cells, ready before private data are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...system.progress import Progress
from ..cells.cell import Cell
from ..planning.plan import Plan
from ..runs.recorder import Report
from ..runs.recording import RunOrder

ATTACKED = "attacked"
"""What its progress counts."""


@dataclass
class Spent:
    """What attacking took so far, in seconds."""

    attacks: float = 0.0
    """Own time of all attacks, shuffled ones among them."""
    twins: float = 0.0
    """Processor time of the harness's own twins."""
    elsewhere: float = 0.0
    """Processor time of judging in other processes than the audit's own, twins among it."""

    def add(self, attacks: float, twins: float, elsewhere: float) -> None:
        """So much more."""
        self.attacks, self.twins, self.elsewhere = (
            self.attacks + attacks,
            self.twins + twins,
            self.elsewhere + elsewhere,
        )


class Crew(Protocol):
    """Those who do an audit's work."""

    @property
    def machine(self) -> Mapping[str, Any]:
        """What a report says of where it was done: `cores`, and `sandbox`, the weakest of any."""
        ...

    def record(self, plan: Plan, orders: Sequence[RunOrder], report: Report) -> None:
        """Record every order; `report` is called with each, one at a time, and why it failed."""
        ...

    def attack(self, plan: Plan, cells: Sequence[Cell], audit: Mapping[str, Any], progress: Progress) -> Spent:
        """Attack, judge and store what is not yet scored; `audit` is what every result repeats of the audit."""
        ...


class Executor(Protocol):
    """Brings a crew together."""

    def at_work(self, out: Path, private: Sequence[Path], progress: Progress) -> AbstractContextManager[Crew]:
        """The crew of the audit that holds the folder `out`; no worker of it can read what is `private`."""
        ...
