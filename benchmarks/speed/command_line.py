"""How long a user waits: `sidelight --help`, and the audit `quick` on the packaged backbone and data.

    python -m sidelight.benchmarks.speed.command_line [--help-seconds 0.5] [--quick-seconds 90] [--without-quick]

Each in a process of its own, as typed, by the wall clock; of five calls for help the median counts. Exits with status 1
above a bound.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from ...system.errors import SidelightError
from ..asked import answered
from ..finding import Bench, Finding, Headline, ended

HELP, QUICK, CALLS = 0.5, 90.0, 5
SIDELIGHT = (sys.executable, "-m", "sidelight.system.command")


def measure(bench: Bench, help_seconds: float = HELP, quick_seconds: float | None = QUICK) -> Finding:
    """Both, or help alone where no time is asked of the audit."""
    helps = [_seconds([*SIDELIGHT, "--help"]) for _ in range(CALLS)]
    bench.say(f"--help: {', '.join(f'{seconds:.2f} s' for seconds in helps)}")
    headlines = [Headline("`sidelight --help`, seconds", statistics.median(helps), help_seconds, at="most")]
    if quick_seconds is not None:
        with tempfile.TemporaryDirectory(prefix="sidelight-") as folder:
            took = _seconds([*SIDELIGHT, "audit", "quick", "--out", f"{folder}/out"])
        bench.say(f"audit quick: {took:.1f} s")
        headlines.append(Headline("`sidelight audit quick`, seconds", took, quick_seconds, at="most"))
    return Finding(
        name="command_line",
        title="What a user waits for",
        kind="measured",
        about="By the wall clock, each in a process of its own.",
        headlines=headlines,
        rows=(),
    )


def _seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise SidelightError(f"`{' '.join(command[3:])}` failed, so that it has no time: {last[0]}")
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--help-seconds", type=float, default=HELP)
    parser.add_argument("--quick-seconds", type=float, default=QUICK)
    parser.add_argument("--without-quick", action="store_true", help="measure help alone")
    given = parser.parse_args()
    return ended(measure(Bench(say=print), given.help_seconds, None if given.without_quick else given.quick_seconds))


if __name__ == "__main__":
    sys.exit(answered(main))
