"""What a worker gives up before it touches a task: handles, privileges, its parents' environment, other files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import landlock

LOG = "worker.log"
"""What the attack printed, and the traceback of an error."""
LARGEST_FILE = 4 << 30
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
CAPABILITY_VERSION = 0x20080522
CAP_DAC_OVERRIDE = 1


def detach(scratch: Path) -> None:
    """A session of its own, no inherited handle, limits, and an environment that names nothing but scratch."""
    os.setsid()
    _die_with_parent()
    log = os.open(scratch / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for handle, standard in ((null, 0), (log, 1), (log, 2)):
        os.dup2(handle, standard)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    os.chdir(scratch)
    os.environ.update(HOME=str(scratch), TMPDIR=str(scratch))
    tempfile.tempdir = None  # was perhaps looked up before TMPDIR changed


def restrict(abi: int, readable: Iterable[Path], scratch: Path) -> None:
    """Give up privileges and all other files; abi 0 keeps the files."""
    if sys.platform.startswith("linux"):
        _die_first_when_memory_ends()
        _drop_capabilities()
    if abi:
        landlock.restrict(abi, readable, (scratch, Path(os.devnull)))


def inherit_strays() -> None:
    """Processes below this one that lose their parent become its children, so that it can end them (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_parent() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _die_first_when_memory_ends() -> None:
    """Where the machine runs out of memory, the kernel ends the worker and not the audit."""
    with contextlib.suppress(OSError):  # some containers show /proc read-only; the memory limit still holds
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _drop_capabilities() -> None:
    """Keep of root's powers only the one that reads files of another owner, which Landlock bounds."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    # two words each of effective, permitted, inheritable
    held = (ctypes.c_uint32 * 6)()
    if libc.capget(header, held):
        raise OSError(ctypes.get_errno(), "capget is refused")
    kept = held[1] & (1 << CAP_DAC_OVERRIDE)
    if libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset is refused")
