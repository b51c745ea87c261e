"""Whether one commit is slower than another: the same works, in turns, each commit in processes of its own.

    python -m sidelight.benchmarks.regression COMMIT COMMIT [--rounds 5] [--margin 0.05]

Run in a clone. Each commit is checked out into a temporary folder (git worktree); a round runs first, second, second,
first (ABBA), so that a machine that warms up or slows down evenly favours neither. Each run times the works of
limits/tasks.py on one thread by the processor's clock. A round gives one ratio, second over first; their geometric mean
stands with its 95 % interval (t, over logarithms). Exits with status 1 where the interval's lower end is above
1 + margin, and where the second cannot do a work of the first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from ..system.errors import SidelightError, UsageError
from .asked import answered, positive

TASKS = Path(__file__).parent / "limits" / "tasks.py"
ROOMS = ("system", "attacks", "audits", "benchmarks", "reports")
LEVEL, LIMIT = 0.95, 600
"""Seconds that one run may take."""
Times = Mapping[str, float]
Run = Callable[[], Times]


@dataclass(frozen=True)
class Ratio:
    """Seconds of the second over those of the first."""

    value: float
    low: float
    high: float

    def slower(self, margin: float) -> bool:
        """Whether it is slower by more than the margin, beyond what chance makes."""
        return self.low > 1 + margin


def ratio(rounds: Sequence[float]) -> Ratio:
    """Of one ratio from each of at least two rounds."""
    if len(rounds) < 2 or min(rounds) <= 0:
        raise UsageError("an interval takes two rounds or more, with ratios above 0")
    logarithms = np.log(np.array(rounds))
    reach = t.ppf((1 + LEVEL) / 2, len(rounds) - 1) * logarithms.std(ddof=1) / len(rounds) ** 0.5
    low, value, high = np.exp(logarithms.mean() + np.array([-reach, 0.0, reach])).tolist()
    return Ratio(value, low, high)


class Compared(NamedTuple):
    """Two commits."""

    ratios: Mapping[str, Ratio]
    """By work, of those that both have."""
    lost: Sequence[str]
    """What the first does and the second does not, or not as the works ask for it."""
    new: Sequence[str]


def compared(first: Run, second: Run, rounds: int) -> Compared:
    """Every work, in turns."""
    found: dict[str, list[float]] = {}
    ours: set[str] = set()
    theirs: set[str] = set()
    for _ in range(rounds):
        before, between, again, after = first(), second(), second(), first()
        for name in before.keys() & between.keys() & again.keys() & after.keys():
            found.setdefault(name, []).append((between[name] + again[name]) / (before[name] + after[name]))
        ours, theirs = ours | before.keys() | after.keys(), theirs | between.keys() | again.keys()
    ratios = {name: ratio(some) for name, some in sorted(found.items()) if len(some) == rounds}
    return Compared(ratios, sorted(ours - theirs), sorted(theirs - ours))


# --- commits -------------------------------------------------------------------------------------------------------


@contextmanager
def checked_out(repository: Path, commit: str) -> Iterator[Run]:
    """A run of a commit's own code; UsageError where there is no such commit."""
    known = git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    if known is None:
        raise UsageError(f"{commit!r} is no commit of {repository.name}; give two that `git log` shows")
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        tree, packages = Path(name) / "tree", Path(name) / "packages" / "sidelight"
        if git(repository, "worktree", "add", "--quiet", "--detach", str(tree), known.strip()) is None:
            raise SidelightError(f"git cannot check {commit!r} out; see that the disk has room")
        try:
            packages.mkdir(parents=True)
            for room in ROOMS:
                (packages / room).symlink_to(tree / room, target_is_directory=True)
            yield lambda: timed(packages.parent)
        finally:
            git(repository, "worktree", "remove", "--force", str(tree))


def git(repository: Path, *words: str) -> str | None:
    """What git says; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError("git is not there; two commits are compared in a clone, with git installed") from None
    return done.stdout if done.returncode == 0 else None


def timed(packages: Path) -> Times:
    """Seconds of each work in a process that imports what stands in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory(prefix="sidelight-") as name:
        done = subprocess.run(
            [sys.executable, "-P", str(TASKS), str(Path(name) / "cache")],
            env=environment, capture_output=True, text=True, check=False, timeout=LIMIT,
        )  # fmt: skip
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise SidelightError(f"a commit's works failed: {last[0]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(name: str, found: Ratio, margin: float) -> str:
    said = f"{name}: {found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
    return f"{said}, slower by more than {100 * margin:.0f} %" if found.slower(margin) else said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="the commit that is taken as it is")
    parser.add_argument("second", help="the commit that may be slower")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--margin", type=float, default=0.05, help="the slowing that is let pass")
    parser.add_argument("--repository", type=Path, default=Path())
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("--rounds: give at least 2")
    return report(given.repository.resolve(), given.first, given.second, given.rounds, given.margin)


def report(repository: Path, one: str, other: str, rounds: int, margin: float) -> int:
    """Print each ratio; 1 where one is slower, or work of the first is none of the second."""
    with checked_out(repository, one) as first, checked_out(repository, other) as second:
        found = compared(first, second, rounds)
    if not found.ratios:
        raise SidelightError("the commits have no work in common; nothing was compared")
    print(f"processor seconds of {other} over those of {one}, {rounds} rounds, 95 % intervals:")
    for name, value in found.ratios.items():
        print(told(name, value, margin))
    for name, which in [*((name, other) for name in found.lost), *((name, one) for name in found.new)]:
        print(f"{name}: not compared, for {which} does not do it, or asks for it otherwise")
    return int(bool(found.lost) or any(value.slower(margin) for value in found.ratios.values()))


if __name__ == "__main__":
    sys.exit(answered(main))
