"""Proof that an audit that is killed again and again loses, changes and repeats nothing.

    python -m sidelight.audits.proofs.kills [--kills 100] [--seed N]

An audit is killed with SIGKILL at random moments, uniform over the time that a whole one takes, and begun again with
the same --out; one that finishes first is followed by another in a fresh folder. After each kill every run, preparation
and cell that was ever finished must be there, with the same content, inode and time of change, and no process may
outlive the kill by ten seconds. In the end the compiled rows are those of an audit with the same seed that was never
killed, up to times and versions, and nothing half-written is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import psutil

from ...system.errors import SidelightError
from .survivors import Watch, differing, left_over

GRACE = 10.0
GLANCE = 0.05
"""Seconds between two looks at an audit's processes."""
SEED = "a seed for an audit that is killed"
SUITE = """
attacker_seeds = 2

[data]
max_classes = 4
generated = 600
victim_train = 36
victim_test = 24
auxiliary = 36
non_member = 6
texts = 12

[protocol]
longest = 12

[limits]
seconds = 120
memory_gib = 4

[[runs]]
protocol = "pae"
settings = { side = { epochs = 4 } }
attacks = ["addback", "match", "plaintext", "sign"]
vary.match = [{ widest = 64 }]

[[runs]]
protocol = "pae"
settings = { difference = "logit", side = { epochs = 4 } }
attacks = ["addback", "match", "plaintext", "sign"]
vary.match = [{ widest = 64 }]

[[runs]]
protocol = "mobillm"
settings = { side = { epochs = 1 } }
attacks = ["addback", "match", "plaintext", "sign"]
vary.match = [{ widest = 64 }]

[[runs]]
protocol = "mobillm"
settings = { side = { epochs = 2 } }
attacks = ["addback", "match", "plaintext", "sign"]
vary.match = [{ widest = 64 }]
"""


@dataclass
class Tally:
    """What happened to all audits together."""

    kills: int = 0
    restarts: int = 0
    """Times that a killed audit was begun again."""
    audits: int = 0
    """Audits that came to their end."""
    finished: int = 0
    """Runs, preparations and cells that were finished, each once however often its audit was killed."""
    lost: int = 0
    changed: int = 0
    repeated: int = 0
    outlived: int = 0
    """Processes that were still there after the grace."""
    differing: int = 0
    """Compiled rows that differ from those of the audit that was never killed."""
    left: int = 0
    """Half-written files and folders after the end."""

    @property
    def wrong(self) -> int:
        """All that should not have happened."""
        return self.lost + self.changed + self.repeated + self.outlived + self.differing + self.left


@dataclass(frozen=True)
class Proof:
    """Kills audits of one suite; its folder holds them all."""

    options: Sequence[str]
    """What stands behind `sidelight audit`, but for --out."""
    folder: Path
    say: Callable[[str], None]
    grace: float = GRACE
    """Seconds that a process may outlive the audit that started it."""
    tally: Tally = field(default_factory=Tally)

    def run(self, kills: int, moments: Iterator[float]) -> Tally:
        """Kill until there were so many kills; a moment is a share of the time that a whole audit takes."""
        reference = self.folder / "reference"
        started = time.monotonic()
        self._finish(reference)
        whole = time.monotonic() - started
        self.say(f"a whole audit takes {whole:.1f} s")
        while self.tally.kills < kills:
            watch = Watch(self.folder / f"audit-{self.tally.audits}")
            while self.tally.kills < kills and self._killed(watch.out, next(moments) * whole):
                watch.look()
                self.tally.kills += 1
                self.tally.restarts += 1
                self.say(f"kill {self.tally.kills}: {len(watch.seen)} runs, preparations and cells are finished")
            self._finish(watch.out)
            self._close(watch, reference)
        return self.tally

    def _killed(self, out: Path, seconds: float) -> bool:
        """Start an audit and kill it after so many seconds; False where it ended before."""
        deadline = time.monotonic() + seconds
        family: set[psutil.Process] = set()
        with self._audit(out) as process:
            harness = psutil.Process(process.pid)
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    self._expect_success(out, process.returncode)
                    return False
                family.update(harness.children(recursive=True))
                time.sleep(GLANCE)
            harness.suspend()  # so that it starts no process that is not seen
            family.update(harness.children(recursive=True))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for other in filter(_alive, psutil.wait_procs(list(family), timeout=self.grace)[1]):
            self.tally.outlived += 1
            self.say(f"process {other.pid} outlived its audit: {' '.join(other.cmdline())}")
            other.kill()
        return True

    def _finish(self, out: Path) -> None:
        """Let an audit come to its end."""
        with self._audit(out) as process:
            self._expect_success(out, process.wait())

    @contextmanager
    def _audit(self, out: Path) -> Iterator[subprocess.Popen[bytes]]:
        """An audit in a process group of its own."""
        line = [sys.executable, "-m", "sidelight.system.command", "audit", *self.options, "--out", str(out)]
        with self._log(out).open("wb") as log:
            process = subprocess.Popen(line, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _log(self, out: Path) -> Path:
        return out.with_suffix(".log")

    def _expect_success(self, out: Path, status: int) -> None:
        if status:
            said = self._log(out).read_text(encoding="utf-8").strip().splitlines()
            last = said[-1] if said else "it said nothing"
            raise SidelightError(f"an audit that was not killed ended with status {status}: {last}")

    def _close(self, watch: Watch, reference: Path) -> None:
        """Check an audit that came to its end."""
        watch.look()
        self.tally.audits += 1
        self.tally.finished += len(watch.seen)
        self.tally.lost += len(watch.lost)
        self.tally.changed += len(watch.changed)
        self.tally.repeated += len(watch.repeated)
        self.tally.differing += differing(reference, watch.out)
        self.tally.left += len(left_over(watch.out))


def _alive(process: psutil.Process) -> bool:
    """Not only waiting to be asked how it ended."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def main() -> int:
    """Print what was counted; 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    moments = iter(random.Random(arguments.seed).random, None)
    with tempfile.TemporaryDirectory(prefix="sidelight-kills-") as folder:
        suite = Path(folder) / "killed.toml"
        suite.write_text(SUITE, encoding="utf-8")
        proof = Proof([str(suite), "--seed", SEED], Path(folder), lambda text: print(text, flush=True))
        try:
            tally = proof.run(arguments.kills, moments)
        except SidelightError as error:
            print(error)
            return 1
    for one in fields(tally):
        print(f"{one.name:<10}{getattr(tally, one.name):>6}")
    return int(tally.wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
