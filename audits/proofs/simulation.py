"""Whether the statistics keep what they promise: synthetic audits, counted.

    python -m sidelight.audits.proofs.simulation [--audits 1000] [--seed 0] [--processes 2]

Every audit goes through the rules of `sidelight.audits.statistics` themselves. For each promise the share of audits in
which a thing happened is printed with its exact 95 % interval, the bound, and whether it was met; a share beyond its
bound counts as missed. Below stand planted mistakes, each of which must miss. Leaves with 1 where it is otherwise.

1,000 audits tell a coverage of 95 % from one of 93 %; they take nine minutes of processor time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial

import numpy
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..statistics import exact_count
from .mistakes import MISTAKES
from .promises import PROMISES, Promise, Rules

CHUNK = 50
"""Audits that a process makes at a time."""


WIDTH = 150
"""Columns of the tables in a file."""


@dataclass(frozen=True)
class Outcome:
    """In how many audits a thing happened, and how many were to be expected."""

    promise: Promise
    happened: int
    audits: int

    @property
    def share(self) -> float:
        return self.happened / self.audits

    @property
    def interval(self) -> tuple[float, float]:
        """Exact 95 % interval of the share."""
        found = exact_count("share", [at < self.happened for at in range(self.audits)])
        return float(found["low"]), float(found["high"])

    @property
    def met(self) -> bool:
        return self.promise.least <= self.share <= self.promise.most


def count(promise: Promise, rules: Rules, numbers: Iterable[int], seed: int) -> int:
    """In how many of the numbered audits it happened; each audit has draws of its own."""
    return sum(promise.audit(rules, numpy.random.default_rng([seed, number])) for number in numbers)


def simulate(promise: Promise, audits: int, seed: int, rules: Rules | None = None) -> Outcome:
    """One promise under the rules given, the real ones if none."""
    return Outcome(promise, count(promise, rules or Rules(), range(audits), seed), audits)


def _lines() -> list[tuple[Promise, Rules]]:
    """Every line of the table: promises under the real rules, then mistakes."""
    return [*((promise, Rules()) for promise in PROMISES), *((one.promise, one.rules) for one in MISTAKES)]


def _count_line(line: int, start: int, stop: int, seed: int) -> int:
    promise, rules = _lines()[line]
    return count(promise, rules, range(start, stop), seed)


def simulate_all(audits: int, seed: int, processes: int, advance: Callable[[int], None]) -> list[Outcome]:
    """Every line's outcome; `advance` is told of finished audits. The same for any number of processes."""
    lines = _lines()
    happened = [0] * len(lines)
    with ProcessPoolExecutor(processes) as pool:
        chunks = {
            pool.submit(_count_line, line, start, min(start + CHUNK, audits), seed): (line, min(CHUNK, audits - start))
            for line in range(len(lines))
            for start in range(0, audits, CHUNK)
        }
        for done in as_completed(chunks):
            line, size = chunks[done]
            happened[line] += done.result()
            advance(size)
    return [Outcome(promise, found, audits) for (promise, _), found in zip(lines, happened, strict=True)]


def report(outcomes: Sequence[Outcome], console: Console) -> bool:
    """Print both tables; whether every promise was met and every mistake seen."""
    kept, planted = outcomes[: len(PROMISES)], outcomes[len(PROMISES) :]
    table = _table("Promises", "met")
    for one in kept:
        table.add_row(one.promise.claim, *_cells(one), "met" if one.met else "MISSED")
    console.print(table)
    table = _table("Planted mistakes: each must miss", "seen")
    for mistake, one in zip(MISTAKES, planted, strict=True):
        table.add_row(f"{mistake.told}: {one.promise.claim}", *_cells(one), "NOT SEEN" if one.met else "seen to miss")
    console.print(table)
    return all(one.met for one in kept) and not any(one.met for one in planted)


def _table(title: str, last: str) -> Table:
    table = Table(title=title)
    for name in ("claim", "scenario", "measured", "bound", last):
        table.add_column(name, overflow="fold")
    return table


def _cells(one: Outcome) -> tuple[str, str, str]:
    low, high = one.interval
    least, most = one.promise.least, one.promise.most
    bounds = ([f"at least {least:.0%}"] if least > 0 else []) + ([f"at most {most:.0%}"] if most < 1 else [])
    return one.promise.scenario, f"{one.share:.1%} ({low:.1%} to {high:.1%})", ", ".join(bounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and say by the exit status whether all is as it must be."""
    told = "Counts how often the statistics keep their promises."
    parser = argparse.ArgumentParser(prog="simulation", description=told)
    parser.add_argument("--audits", type=int, default=1000, help="synthetic audits a line")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic audits")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    if min(given.audits, given.processes) < 1:
        parser.error("--audits and --processes must be at least 1")
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task("audits", total=given.audits * (len(PROMISES) + len(MISTAKES)))
        outcomes = simulate_all(given.audits, given.seed, given.processes, partial(bars.advance, task))
    return 0 if report(outcomes, console) else 1


if __name__ == "__main__":
    sys.exit(main())
