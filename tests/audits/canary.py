"""An attack that tries every way to the truth. What it finds, it writes to `found.json` in its scratch folder.

Everything secret in the tests carries a mark of random digits, so that the canary knows a secret when it sees one.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sidelight.attacks.attack import Attack, Goal, Guess, LabelGuess, Needs, Prepared
from sidelight.system.public import Public
from sidelight.system.view import View

MARK = re.compile(rb"PLANTED-[0-9a-f]{16}")
STREAMS = ("data", "messages", "split", "key", "keys", "noise", "training", "attack", "twin")
ROWS = 8
"""Messages regenerated for each seed and stream."""
PTRACE_ATTACH, PTRACE_DETACH, PIDFD_OPEN, PIDFD_GETFD = 16, 17, 434, 438


@dataclass(frozen=True)
class Canary(Attack):
    """Knows where everything lies, and more than an attack is told: only the way there is missing."""

    name = "canary"
    source = "tests"
    goal = Goal.LABELS
    needs = Needs()
    attacked = frozenset({"difference"})

    paths: tuple[str, ...]
    """The truth's folder, the data file, and other places to look in."""
    processes: tuple[int, ...]
    """The audit, and a process that holds the truth in memory, arguments and environment."""
    abstract: str
    port: int

    def run(self, view: View, public: Public, prepared: Prepared, generator: torch.Generator) -> Guess:
        found = {name: sorted(set(probe())) for name, probe in self.probes(view, public, generator).items()}
        Path("found.json").write_text(json.dumps(found), encoding="utf-8")
        ids = view.sample_ids()
        return LabelGuess(ids, torch.zeros(len(ids), dtype=torch.int64))

    def probes(self, view: View, public: Public, generator: torch.Generator) -> dict[str, Callable[[], Iterator[str]]]:
        """Each yields the marks that it saw, or what it was able to do."""
        root = Path(view.messages._root)  # type: ignore[attr-defined]
        return {
            "handles": handles,
            "objects": lambda: objects(view, public),
            "environment": lambda: marks(repr((dict(os.environ), sys.argv, sys.orig_argv)).encode()),
            "beside the view": lambda: files([root / "../truth", root.parent, root.parent.parent]),
            "known paths": lambda: files(map(Path, self.paths)),
            "links": lambda: links(map(Path, self.paths)),
            "shared memory": lambda: files([Path("/dev/shm")]),
            "listings": lambda: listings([*map(Path, ("/", "/tmp", "/home", "/root", "/proc")), root / ".."]),
            "writes": lambda: writes([root, root.parent, Path("/tmp"), Path("/dev/shm")]),
            "processes": lambda: processes((os.getppid(), *self.processes)),
            "memory": lambda: memory(self.processes),
            "other processes' handles": lambda: stolen_handles(self.processes),
            "control": lambda: control((os.getppid(), *self.processes)),
            "sockets": lambda: sockets(self.abstract, self.port),
            "seeds": lambda: seeds({torch.initial_seed(), generator.initial_seed(), *range(201)}),
        }


def marks(content: bytes) -> Iterator[str]:
    """The marks in some bytes."""
    yield from (mark.decode() for mark in MARK.findall(content))


def files(roots: Any) -> Iterator[str]:
    """Marks in files, below folders too."""
    for root in roots:
        for path in [root, *(root.rglob("*") if listable(root) else ())]:
            with suppress(OSError):
                yield from marks(path.read_bytes())


def listable(root: Path) -> bool:
    try:
        next(root.iterdir(), None)
    except OSError:
        return False
    return True


def listings(roots: list[Path]) -> Iterator[str]:
    """Folders whose names can be listed."""
    yield from (str(root) for root in roots if listable(root))


def writes(roots: list[Path]) -> Iterator[str]:
    """Folders in which a file can be made."""
    for root in roots:
        with suppress(OSError):
            made = root / f"canary-{os.getpid()}"
            made.touch()
            made.unlink()
            yield str(root)


def links(targets: Any) -> Iterator[str]:
    """Marks in files that are linked or moved into scratch first."""
    inside = [path for target in targets for path in (target, target / "texts.jsonl")]
    for at, target in enumerate(inside):
        for way in (Path.symlink_to, Path.hardlink_to):
            link = Path(f"link-{at}-{way.__name__}")
            with suppress(OSError):
                way(link, target)
                yield from marks(link.read_bytes())


def handles() -> Iterator[str]:
    """Handles beside the three standard ones, and marks in what can be read from any."""
    for handle in range(256):
        with suppress(OSError):
            kind = os.fstat(handle)
            if handle > 2:
                yield f"handle {handle} ({kind.st_mode:o})"
            yield from marks(os.pread(handle, 1 << 20, 0))


def objects(view: View, public: Public) -> Iterator[str]:
    """Marks in what is in memory: the arguments, the callers' variables, all that the collector knows."""
    frame = sys._getframe()
    seen: list[Any] = [vars(view), vars(public)]
    while frame.f_back is not None:
        frame = frame.f_back
        seen.append(frame.f_locals)
    for value in [*seen, *gc.get_objects()]:
        for item in contents(value):
            if type(item) in (str, bytes):  # isinstance would wake what is loaded when first touched
                yield from marks(item.encode("utf-8", "replace") if type(item) is str else item)


def contents(value: Any) -> Iterator[Any]:
    if type(value) is dict:
        yield from list(value.values())
    elif type(value) in (list, tuple, set, frozenset):
        yield from list(value)


def processes(named: tuple[int, ...]) -> Iterator[str]:
    """Marks in the arguments and environment of any process; what of /proc can be read of the named ones."""
    for process in (*range(1, 1 << 16), *named):
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                yield from marks(Path(f"/proc/{process}/{name}").read_bytes())
    for process in named:
        for name in ("maps", "mem", "status", "fd", "cwd/.", "root/."):
            with suppress(OSError):
                os.close(os.open(f"/proc/{process}/{name}", os.O_RDONLY))
                yield f"{name} of a process"


def memory(named: tuple[int, ...]) -> Iterator[str]:
    """Marks in another process's heap, by /proc and by ptrace."""
    libc = ctypes.CDLL(None, use_errno=True)
    for process in named[-1:]:
        with suppress(OSError):
            regions = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
            heap = next(line for line in regions if line.endswith("[heap]"))
            start, end = (int(bound, 16) for bound in heap.split()[0].split("-"))
            with Path(f"/proc/{process}/mem").open("rb") as opened:
                opened.seek(start)
                yield from marks(opened.read(end - start))
        if libc.ptrace(PTRACE_ATTACH, process, None, None) == 0:
            os.waitpid(process, 0)
            libc.ptrace(PTRACE_DETACH, process, None, None)
            yield "ptrace"


def stolen_handles(named: tuple[int, ...]) -> Iterator[str]:
    """Marks in files that another process has open."""
    libc = ctypes.CDLL(None, use_errno=True)
    for process in named[-1:]:
        for handle in range(3, 32):
            with suppress(OSError):
                yield from marks(Path(f"/proc/{process}/fd/{handle}").read_bytes())
            other = libc.syscall(PIDFD_OPEN, process, 0)
            copy = libc.syscall(PIDFD_GETFD, other, handle, 0) if other >= 0 else -1
            if copy >= 0:
                yield "pidfd_getfd"


def control(named: tuple[int, ...]) -> Iterator[str]:
    """Processes that a signal would reach; signal 0 only asks."""
    for process in named:
        with suppress(OSError):
            os.kill(process, signal.SIG_DFL)
            yield "a signal"


def sockets(abstract: str, port: int) -> Iterator[str]:
    """What a listener says that holds the truth."""
    for family, address in ((socket.AF_UNIX, f"\0{abstract}"), (socket.AF_INET, ("127.0.0.1", port))):
        with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as made:
            made.settimeout(5)
            made.connect(address)
            yield from marks(made.recv(1 << 10))


def seeds(known: set[int]) -> Iterator[str]:
    """Digests of messages and integers that each seed makes in each stream: the test compares them with the truth's."""
    from sidelight.system.data.messages import generate
    from sidelight.system.randomness import Streams

    for seed in known:
        streams = Streams(str(seed))
        for name in STREAMS:
            yield digest(str(streams.integer(name)))
        for name in STREAMS[:2]:
            yield from (digest(row.text) for row in generate(ROWS, streams.numpy(name)))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
