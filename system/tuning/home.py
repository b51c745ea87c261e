"""The folder of a tuning: begun, gone on with, or refused.

OUT/device/         0700: seed, what was agreed, what was made of every sample, counts
OUT/model/          the export
OUT/summary.json    last of all: a tuning that has it is finished
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..cache.durable import sync
from ..errors import UsageError

SCHEMA = 1
HALF_WRITTEN = ("*.partial-*", "*.old-*", "device/*.partial-*")


@dataclass(frozen=True)
class Home:
    """Paths, and what stands there."""

    out: Path

    @property
    def device(self) -> Path:
        return self.out / "device"

    @property
    def kept(self) -> Path:
        """What was made of samples, as it was or will be sent."""
        return self.device / "kept"

    @property
    def account(self) -> Path:
        return self.device / "account.json"

    @property
    def model(self) -> Path:
        return self.out / "model"

    @property
    def summary(self) -> Path:
        return self.out / "summary.json"

    @property
    def begun(self) -> bool:
        """Whether a tuning was begun here; raises UsageError where something else stands here."""
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"{self.out} is a file; give a folder as --out")
        if (self.device / "about.json").is_file():
            return True
        # a process that was killed while it began left a part of this, under another name
        if self.out.is_dir() and any(not path.name.startswith("device.partial-") for path in self.out.iterdir()):
            raise UsageError(f"{self.out} holds files that are no tuning's; give another --out")
        return False

    @property
    def seed(self) -> str | None:
        """The seed of the tuning that was begun here."""
        return (self.device / "seed").read_text("utf-8").strip() if self.begun else None

    @property
    def about(self) -> dict[str, Any]:
        """What has to stay the same."""
        found: dict[str, Any] = files.read_json(self.device / "about.json")
        return found

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second tuning out while one runs; the lock ends with the process, however it ends."""
        fresh = not self.out.exists()
        self.out.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
        folder = os.open(self.out, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._lock(folder)
            self._sweep()
            yield
        finally:
            if fresh and not any(self.out.iterdir()):
                self.out.rmdir()
            os.close(folder)

    def _lock(self, folder: int) -> None:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"a tuning runs in {self.out} already; wait for it or give another --out") from None

    def _sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for path in [found for pattern in HALF_WRITTEN for found in self.out.glob(pattern)]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def begin(self, identity: Mapping[str, Any], seed: str) -> None:
        """Write down seed and identity, durably; or go on, where both are the same as before."""
        if not self.begun:
            with files.whole(self.device) as folder:
                files.write_text(folder / "seed", seed + "\n")
                files.write_json(folder / "about.json", {"schema": SCHEMA, **identity})
                (folder / "kept").mkdir(mode=files.PRIVATE)
                for path in (folder / "seed", folder / "about.json", folder):
                    sync(path)
            sync(self.out)
        if self.seed != seed:
            raise UsageError(f"another tuning was begun in {self.out} meanwhile; give another --out")
        self.refuse_other(identity)
        if not self.kept.is_dir():
            raise UsageError(
                f"{self.kept} is gone, and noise on samples that were sent would be drawn anew; have the server forget "
                "this device (`sidelight forget`) and give another --out"
            )

    def refuse_other(self, identity: Mapping[str, Any]) -> None:
        """Raise UsageError where the tuning begun here is not the one that is asked for."""
        before, asked = flat(self.about), flat(json.loads(json.dumps({"schema": SCHEMA, **identity})))
        for name in [*asked, *before]:
            if before.get(name) != asked.get(name):
                raise UsageError(
                    f"{self.out} was begun with {name} = {json.dumps(before.get(name))} and is asked to go on with "
                    f"{json.dumps(asked.get(name))}; give the same, or another --out"
                )


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values within values by dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{name}.")
        else:
            found[above + name] = value
    return found
