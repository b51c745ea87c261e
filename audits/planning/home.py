"""The folder of an audit: begun, resumed or refused."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from ...system import files
from ...system.backbone import Backbone
from ...system.data import Split
from ...system.errors import UsageError
from ...system.randomness import fresh_seed
from ..runs.parts import save_parts

HALF_WRITTEN = ("*.partial-*", "*/*.partial-*", "*/*/*.partial-*", "*/*.old-*", "scratch")
LOCK = "lock"
BUDGET, JUNIT = "budget.json", "junit.xml"
"""What a leakage budget came to; stale as soon as results are made anew."""
PRIVATE_FOLDERS = ("truth", "runs", "cells", "prepared", "scratch")


def refuse_another(out: Path, identity: str) -> None:
    """Refuse a folder that another audit was written to."""
    path = out / "truth" / "audit"  # there from the start, unlike audit.json
    if path.exists() and path.read_text(encoding="utf-8").strip() != identity:
        raise UsageError(f"{out} holds another audit; give another --out, or the same suite, data and backbone")


def seed_of(out: Path, given: str | None) -> str:
    """The seed given, the one that an interrupted audit in the same folder had, or a fresh one."""
    path = out / "truth" / "seed"
    stored = path.read_text(encoding="utf-8").strip() if path.exists() else None
    if given is not None and stored is not None and given != stored:
        raise UsageError(f"{out} was begun with another seed; give another --out or leave --seed away")
    return given or stored or fresh_seed()


def begin(out: Path, seed: str, parts: Mapping[Path, Split], identity: str) -> None:
    """Make the folder, sweep what a killed audit left half-written, and put seed and parts with the truth."""
    out.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
    clear_half_written(out)
    forget_budget(out)
    for name in PRIVATE_FOLDERS:
        (out / name).mkdir(exist_ok=True, mode=files.PRIVATE)
    files.write_text(out / "truth" / "audit", identity + "\n")
    files.write_text(out / "truth" / "seed", seed + "\n")
    for path, dealt in parts.items():
        save_parts(dealt, path)


def clear_half_written(out: Path) -> None:
    """Remove what was half-written, files and folders, but no checkpoint of a preparation."""
    for pattern in HALF_WRITTEN:
        for path in list(out.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def forget_budget(out: Path) -> bool:
    """Remove what a budget came to before, and say whether there was any: its results are about to change."""
    found = [path for path in (out / BUDGET, out / JUNIT) if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return bool(found)


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Keep a second audit out of a folder while one runs; the lock ends with the process, however it ends.

    A folder in which no audit was begun in the end is left as it was.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder as --out")
    fresh = not out.exists()
    lock = _lock_of(out)
    try:
        yield
    finally:
        if not (out / "truth").is_dir():
            (out / LOCK).unlink()
        if fresh and not any(out.iterdir()):
            with suppress(OSError):  # another audit begins there
                out.rmdir()
        os.close(lock)


def _lock_of(out: Path) -> int:
    """The lock that bears the name: one that was opened before its holder removed it locks nothing."""
    while True:
        out.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE)
        try:
            lock = os.open(out / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:  # the folder was removed meanwhile
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UsageError(f"an audit runs in {out} already; wait for it or give another --out") from None
        if _stands(lock, out / LOCK):
            return lock
        os.close(lock)


def _stands(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def marked(out: Path) -> str:
    """A fresh token in the lock of a folder that this process holds: whoever reads it there sees the same folder."""
    token = secrets.token_hex(16)
    with (out / LOCK).open("r+", encoding="ascii") as lock:
        lock.write(token)
        lock.flush()
        os.fsync(lock.fileno())
    return token


def mark(out: Path) -> str | None:
    """The token in a folder's lock; None where it cannot be read."""
    try:
        return (out / LOCK).read_text(encoding="ascii")
    except OSError:
        return None


def kept_copy(backbone: Backbone, out: Path) -> Path:
    """A hub backbone as a local folder, which workers can read without the hub's cache."""
    folder = out / "backbone"
    if not (folder / "config.json").exists():
        with files.whole(folder) as partial:
            backbone.model.save_pretrained(partial)
            backbone.tokenizer.save_pretrained(partial)
    return folder
