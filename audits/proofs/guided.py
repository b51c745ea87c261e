"""The half of the proof `frames` that chooses its frames by the lines of the decoder that they reach.

    python -m sidelight.audits.proofs.guided CORPUS TALLY [--frames N] [--seconds N]

Started by that proof; needs atheris (the extra `fuzz`). libFuzzer ends the process itself, so the tally is written
before.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from .frames import Tally

INSTRUMENTED = ["sidelight.system.message", "sidelight.system.codec", "sidelight.system.envelope"]
MOST_BYTES = 1 << 16
EVERY = 1000
"""Frames between two writings of the tally."""


class Target:
    """Meets each frame that libFuzzer makes."""

    def __init__(self, tally: Tally, told: Path, count: int) -> None:
        self._tally, self._told, self._count = tally, told, count

    def __call__(self, frame: bytes) -> None:
        self._tally.meet(frame)
        if self._tally.failures or self._tally.frames % EVERY == 0 or self._tally.frames >= self._count:
            self._told.write_text(json.dumps(asdict(self._tally)), encoding="utf-8")
        if self._tally.failures:
            raise AssertionError(self._tally.failures[0])


def main() -> None:
    """Fuzz until libFuzzer ends the process: with 0 after so many frames, otherwise where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("tally", type=Path)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=0)
    arguments = parser.parse_args()
    with atheris.instrument_imports(include=INSTRUMENTED):
        from .frames import Tally
    import torch

    torch.set_num_threads(1)
    options = [f"-runs={arguments.frames}", f"-max_len={MOST_BYTES}", f"-max_total_time={arguments.seconds}"]
    artifacts = f"-artifact_prefix={arguments.tally.parent}/"
    atheris.Setup(
        [sys.argv[0], *options, artifacts, "-rss_limit_mb=0", str(arguments.corpus)],
        Target(Tally(), arguments.tally, arguments.frames),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
