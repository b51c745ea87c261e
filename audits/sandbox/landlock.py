"""Landlock: a Linux process gives up every file, TCP port and signal that it does not need, for good.

Source: the kernel's userspace-api/landlock.rst and uapi/linux/landlock.h, up to ABI 7. What Landlock leaves open:
a file's name, size and times where a path is known; UDP; Unix sockets that stand in a file system. None of them
opens a file's content.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls; the numbers are the same on every architecture."""
VERSION_FLAG = 1
PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

READ = READ_FILE | READ_DIR | EXECUTE
WRITE = READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule on a single file may name."""

KNOWN = 7
"""The newest ABI whose rights are listed here; a newer kernel still knows them."""


class Handled(NamedTuple):
    """What a ruleset of some ABI takes away unless a rule gives it back."""

    files: int
    tcp: int
    """Bind and connect, from ABI 4."""
    scopes: int
    """Abstract Unix sockets and signals to processes outside, from ABI 6."""


class Support(NamedTuple):
    """The kernel's Landlock ABI; 0 where there is none, with the reason."""

    abi: int
    reason: str


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def support() -> Support:
    """The Landlock of the running kernel."""
    if not sys.platform.startswith("linux"):
        return Support(0, f"{sys.platform} has no Landlock")
    try:
        return Support(min(_call(CREATE_RULESET, None, 0, VERSION_FLAG), KNOWN), "")
    except OSError as error:
        said = {
            errno.ENOSYS: "this kernel has no Landlock",
            errno.EOPNOTSUPP: "Landlock was off when the kernel started",
        }
        return Support(0, said.get(error.errno or 0, f"the kernel refuses Landlock ({error.strerror})"))


def handled(abi: int) -> Handled:
    """Every right that an ABI can take away."""
    newest = REFER if abi == 2 else TRUNCATE if abi < 5 else IOCTL_DEV
    files = (MAKE_SYM if abi == 1 else newest) * 2 - 1
    return Handled(files, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0)


def restrict(abi: int, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Leave this thread, and what it starts, these files and folders only; OSError where the kernel refuses.

    A path that does not exist gets no rule. Call it before any other thread starts.
    """
    lost = handled(abi)
    size = 8 if abi < 4 else 16 if abi < 6 else 24  # an older kernel refuses the fields that it does not know
    ruleset = _call(CREATE_RULESET, ctypes.byref(_Ruleset(*lost)), size, 0)
    try:
        for paths, rights in ((readable, READ), (writable, WRITE)):
            for path in paths:
                _allow(ruleset, path, rights & lost.files)
        _no_new_privileges()
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        rule = _PathBeneath(rights if folder else rights & OF_FILES, handle)
        _call(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(handle)


def _no_new_privileges() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl refuses no_new_privs")


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    whole = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *whole)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
