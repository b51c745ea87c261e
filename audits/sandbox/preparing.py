"""What attacks prepare from public knowledge: computed once for all that share it, kept, and lent to workers to read.

A preparation is named by a digest of all that can change it. A shelf's folder holds

    KEY/            prepared.safetensors and prepared.json, put there by one rename
    KEY.partial/    public/, which the worker reads, and work/, where it keeps its checkpoint; both outlive a kill
    KEY.lock        held while a worker prepares, gone once it has
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from functools import cache
from importlib import import_module
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ...attacks.attack import Attack
from ...attacks.workbench import PROGRESS
from ...system import files
from ...system.public import Public
from ...system.randomness import Streams
from ..digest import digest
from . import prepared_files
from .guess_files import GuessError, read_json
from .readable import PACKAGE, module_paths
from .worker_task import prepares
from .workers import Broken, Limits, Ready, Study, Workers

__all__ = ["Shelf", "Shelved", "prepared_key", "prepares", "reference"]

ABOUT = "prepared.json"
ROOMS = ("attacks", "system")
"""Whose code a preparation runs."""
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
        return (self._root / key / ABOUT).exists()

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


def reference(attack: Attack) -> str:
    """Where an attack's class stands: "module:Class"."""
    return f"{type(attack).__module__}:{type(attack).__qualname__}"


def preparer(attack: Attack) -> type[Attack]:
    """The class by whose name preparations are kept: the attack's own, unless it inherits one that is shared."""
    made = next(one for one in type(attack).__mro__ if "prepare" in vars(one))
    return made if attack.shares_preparation else type(attack)


def studied_by(attack: Attack, settings: Mapping[str, Any], public: Public) -> tuple[Mapping[str, Any], Public]:
    """The settings and the public knowledge on which what an attack prepares depends."""
    if attack.studies is None:
        return settings, public
    kept = {name: value for name, value in settings.items() if name in attack.studies.settings}
    return kept, public.only(attack.studies.items, attack.studies.facts)


def prepared_key(attack: Attack, settings: Mapping[str, Any], public: Public, backbone: str) -> str:
    """The attack's name and a digest of its code, its settings and what it studies; the backbone counts by its weights.

    `public` is restricted already to what the attack studies.
    """
    own = preparer(attack)
    # attacks that inherit a preparation share it
    called = attack.name if own is type(attack) else own.__name__.lower()
    name = re.sub(r"[^\w-]", "_", called)  # a plug-in's name becomes a folder's
    told = {
        "attack": f"{own.__module__}:{own.__qualname__}",
        "code": code_version(own.__module__),
        "settings": dict(settings),
        "facts": dict(public.facts),
        "labels": public.labels,
        "backbone": None if public.backbone is None else backbone,
        "head": None if public.head is None else {name: _tensor_digest(t) for name, t in public.head.items()},
        "auxiliary": list(map(astuple, public.auxiliary)),
        "candidates": public.candidates,
        "challenge": list(map(astuple, public.challenge)),
        "queries": list(map(astuple, public.queries)),
        "targets": public.targets,
        "known": list(map(astuple, public.known)),
        "priors": public.priors,
        "keys": {name: _tensor_digest(t) for name, t in (public.keys or {}).items()},
    }
    return f"{name}-{digest(told)}"


@cache
def code_version(module: str) -> str:
    """Digest of torch's version and of the sources that a preparation runs: these rooms and a plug-in's package."""
    rooms = [Path(path) for room in ROOMS for path in import_module(f"{PACKAGE}.{room}").__path__]
    state = hashlib.sha256(version("torch").encode())
    for top in (*rooms, *module_paths(module)):
        for source in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            state.update(f"{source.relative_to(top.parent)}\0".encode())
            state.update(hashlib.sha256(source.read_bytes()).digest())
    return state.hexdigest()[:12]


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


def _tensor_digest(tensor: torch.Tensor) -> str:
    state = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\0".encode())
    state.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
