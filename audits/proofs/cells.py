"""Proof that ten thousand cells run with flat memory, and what the harness costs beside the attacks themselves.

    python -m sidelight.audits.proofs.cells [--cells 10000]
    python -m sidelight.audits.proofs.cells --audit DIR

One recorded run of `pae` is attacked over and over: two attacks, each with as many attacker's seeds as make the cells,
each in a worker of its own, with its shuffled twin, its score and its stored rows. It is done at a tenth of the size
and at the full size; the proof fails where the audit's peak memory grows by more than 64 MiB, or a cell is not scored.

These attacks take milliseconds, so the table says what a cell costs beside them. What the harness costs beside attacks
that do work is read off a finished audit in DIR, such as the standard one; that fails above 5 % of their own time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...system.errors import SidelightError
from .memory import peak_memory

MIB = 1 << 20
BOUND = 64 * MIB
"""Bytes by which the peak may grow between a tenth of the cells and all of them."""
OVERHEAD = 0.05
"""Largest share of the attacks' own time that the harness may take."""
GLANCE = 0.2
ATTACKS = 2

SUITE = """
attacker_seeds = {seeds}

[data]
max_classes = 4
generated = 600
victim_train = 36
victim_test = 24
auxiliary = 36
non_member = 6
texts = 6

[protocol]
longest = 12

[[runs]]
protocol = "pae"
settings = {{ side = {{ epochs = 4 }} }}
attacks = ["addback", "sign"]
"""


class Measured(NamedTuple):
    """One audit."""

    cells: int
    peak: int
    """Largest resident memory of the audit's own process, in bytes."""
    attacks: float
    """Own seconds of all workers."""
    harness: float
    """Processor seconds of the audit's own process, without the twins that it makes."""


def overhead(out: Path) -> float:
    """What the harness of a finished audit took beside its attacks, as a share of their own time."""
    about = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    if not about["attack_seconds"]:
        raise SidelightError(f"no attack ran when {out} was last finished; give an audit that was not resumed")
    return float(about["harness_seconds"] / about["attack_seconds"])


def measured(cells: int, folder: Path) -> Measured:
    """Run an audit of so many cells in a process of its own."""
    suite, out = folder / f"cells-{cells}.toml", folder / f"out-{cells}"
    suite.write_text(SUITE.format(seeds=cells // ATTACKS), encoding="utf-8")
    line = [sys.executable, "-m", "sidelight.system.command", "audit", str(suite), "--out", str(out)]
    log = folder / f"log-{cells}"
    with log.open("w") as said, subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(GLANCE)
    if process.returncode:
        raise SidelightError(f"the audit ended with status {process.returncode}: {log.read_text()[-300:]}")
    about = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    check(out, cells)
    return Measured(cells, peak, about["attack_seconds"], about["harness_seconds"])


def check(out: Path, cells: int) -> None:
    """Every cell is there and scored, and the rows speak of all of them."""
    stored = [path for path in (out / "cells").iterdir() if "-composite-" not in path.name]
    rows: list[Mapping[str, Any]] = [json.loads(line) for line in (out / "results.jsonl").open(encoding="utf-8")]
    behind = {key for row in rows if row["attack"] in ("addback", "sign") for key in row["cells"]}
    if len(stored) != cells or behind != {path.name for path in stored}:
        raise SidelightError(f"{cells} cells were asked for, {len(stored)} are stored, {len(behind)} stand behind rows")
    if any(row["status"] != "scored" for row in rows):
        raise SidelightError("not every row is scored")


def shown(one: Measured) -> str:
    """A line of the table."""
    each = f"harness {1000 * one.harness / one.cells:>5.1f} ms a cell"
    return f"{one.cells:>7,} cells, workers {one.attacks:>8.1f} s, {each}, {one.peak / MIB:>6.0f} MiB at the peak"


def main() -> int:
    """Print the table; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000, help="at least 20")
    parser.add_argument("--audit", type=Path, help="a finished audit's folder")
    arguments = parser.parse_args()
    if arguments.audit:
        share = overhead(arguments.audit)
        print(f"the harness took {share:.1%} of the attacks' own time; at most {OVERHEAD:.0%} are allowed")
        return int(share > OVERHEAD)
    found = []
    with tempfile.TemporaryDirectory(prefix="sidelight-cells-") as folder:
        for cells in (arguments.cells // 10, arguments.cells):
            one = measured(cells // ATTACKS * ATTACKS, Path(folder))
            found.append(one)
            print(shown(one), flush=True)
    grown = found[1].peak - found[0].peak
    print(f"the peak grows by {grown / MIB:.1f} MiB; at most {BOUND // MIB} MiB are allowed")
    return int(grown > BOUND)


if __name__ == "__main__":
    sys.exit(main())
