"""What attacks prepare from public knowledge: computed once for all that share it, kept, and lent to workers to read.

A preparation is named by a digest of all that can change it. A shelf's folder holds

    KEY/            prepared.safetensors and prepared.json, put there by one rename
    KEY.partial/    public/, which the worker reads, and work/, where it keeps its checkpoint; both outlive a kill
    KEY.lock        held while a worker prepares, gone once it has
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from ...attacks.attack import Attack
from ...attacks.workbench import PROGRESS
from ...system import files
from ...system.public import Public
from ...system.randomness import Streams
from . import prepared_files
from .guess_files import GuessError, read_json
from .prepared_key import code_version, prepared_key, reference, studied_by
from .worker_task import prepares
from .workers import Broken, Limits, Ready, Study, Workers

__all__ = ["Shelf", "Shelved", "prepares"]

ABOUT = "prepared.json"
LARGEST_PROGRESS = 4096
"""Bytes."""
POLL_SECONDS = 0.1

Report = Callable[[str, float, float], None]
"""Called with a preparation's key, what is done and the total; the two are equal when it has ended."""


class Shelved(NamedTuple):
    """A finished preparation."""

    path: Path
    """The file of tensors, for `Task.prepared`."""
    seconds: float
    """What it took whoever computed it; after an interruption, from the last checkpoint on."""
    peak_bytes: int
    """Of memory, likewise."""
    key: str


class Shelf:
    """A folder of preparations. `ensure` may be called from several threads, and by several audits at once."""

    def __init__(self, root: Path, workers: Workers, limits: Limits, progress: Report | None = None) -> None:
        self._root, self._workers, self._limits = root, workers, limits
        self._progress = progress or (lambda key, done, total: None)
        self._broken: dict[str, Broken] = {}

    def key_of(self, attack: Attack, settings: Mapping[str, Any], public: Public, backbone: str) -> str:
        """The name of what an attack prepares."""
        return prepared_key(attack, *studied_by(attack, settings, public), backbone)

    def holds(self, key: str) -> bool:
        """Whether that was prepared already."""
        return shelved(self._root, key)

    def ensure(
        self, attack: Attack, settings: Mapping[str, Any], public: Public, backbone: str, readable: Sequence[Path] = ()
    ) -> Shelved | Broken | None:
        """What an attack prepared, computed where it is not there yet; None where it prepares nothing.

        `public` is all that the run makes public, `backbone` the digest of its weights (empty where it is private), and
        `readable` public folders such as the backbone's. A failure is remembered by this shelf and stored nowhere.
        """
        if not prepares(attack):
            return None
        settings, studied = studied_by(attack, settings, public)
        key = prepared_key(attack, settings, studied, backbone)
        found = self._found(key)
        if found is None:
            with self._held(key):
                found = self._found(key) or self._make(key, attack, settings, studied, tuple(readable))
        return found

    def _found(self, key: str) -> Shelved | Broken | None:
        folder = self._root / key
        if not (folder / ABOUT).exists():
            return self._broken.get(key)
        about = files.read_json(folder / ABOUT)
        return Shelved(folder / prepared_files.TENSORS, float(about["seconds"]), int(about.get("peak_bytes", 0)), key)

    @contextmanager
    def _held(self, key: str) -> Iterator[None]:
        """Have a key for this thread alone, on this machine; the lock ends with the process, however it ends."""
        self._root.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
        path = self._root / f"{key}.lock"
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(handle):
                if self._workers.closed:  # an interrupted audit does not wait for another's preparation
                    raise RuntimeError("these workers are closed")
                time.sleep(POLL_SECONDS)
            yield
            if (self._root / key).exists():  # whoever still waits for this file, or makes another, finds that folder
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def _make(
        self, key: str, attack: Attack, settings: Mapping[str, Any], public: Public, readable: tuple[Path, ...]
    ) -> Shelved | Broken:
        partial = self._root / f"{key}.partial"
        known, work = partial / "public", partial / "work"
        partial.mkdir(exist_ok=True, mode=files.PRIVATE)
        shutil.rmtree(known, ignore_errors=True)
        public.save(known)
        # the key alone seeds it: all runs with the same public knowledge find the same tensors
        seed = Streams(key).integer("preparation")
        study = Study(reference(attack), settings, known, work, seed, readable)
        self._progress(key, 0.0, 1.0)
        try:
            ended = self._workers.study(study, self._limits, lambda: self._tell(key, work))
        finally:
            self._progress(key, 1.0, 1.0)
        if isinstance(ended, Ready):
            ended = self._kept(key, attack, work, ended)
        if isinstance(ended, Broken):
            self._broken[key] = ended
            return ended
        shutil.rmtree(partial, ignore_errors=True)
        found = self._found(key)
        assert found is not None
        return found

    def _kept(self, key: str, attack: Attack, work: Path, ready: Ready) -> Ready | Broken:
        """Take a stranger's file out of its reach, check it, and put it in its place."""
        fresh = self._root / f"{key}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=files.PRIVATE)
        tensors = fresh / prepared_files.TENSORS
        try:
            with suppress(OSError):  # the check says that it is missing
                (work / prepared_files.TENSORS).rename(tensors)
            prepared_files.check(tensors)
        except GuessError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            return Broken(str(error), ready.seconds, ready.peak_bytes)
        about = {
            "attack": attack.name,
            "code": code_version(type(attack).__module__),
            "seconds": round(ready.seconds, 3),
            "peak_bytes": ready.peak_bytes,
        }
        files.write_json(fresh / ABOUT, about)
        fresh.rename(self._root / key)
        return ready

    def _tell(self, key: str, work: Path) -> None:
        if (said := read_progress(work)) is not None:
            self._progress(key, *said)


def shelved(root: Path, key: str) -> bool:
    """Whether a shelf's folder holds a finished preparation."""
    return (root / key / ABOUT).exists()


def read_progress(work: Path) -> tuple[float, float] | None:
    """What is done and the total, as a stranger noted them; None where it noted nothing that makes sense."""
    try:
        said = read_json(work / PROGRESS, LARGEST_PROGRESS)
    except GuessError:
        return None
    match said:
        case {"done": float(done), "total": float(total)} if isfinite(total) and 0 <= done <= total:
            return done, total
    return None


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
