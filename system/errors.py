"""The errors a user meets, in one small tree.

SidelightError
├── UsageError      wrong usage or input: exit status 2
│   └── UnknownName     a name that no table holds, with the nearest right one
├── ProtocolError   a peer sent something that the protocol does not allow
├── PrivacyError    training would not keep the privacy that it promises
└── StoreFull       a store does not take what it was to keep; what was there stays
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class SidelightError(Exception):
    """Anything Sidelight raises on purpose; the message is one sentence for the user."""


def place(error: Exception) -> str:
    """What may be said of an unforeseen error: kind and place, never its message, which may quote a private text."""
    if isinstance(error, SidelightError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


class UsageError(SidelightError):
    """The input is wrong; the message says what it was and what would be right."""


class UnknownName(UsageError):
    """A name that no table holds; the message offers the nearest name and the whole list."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {what} {name!r}; {hint}known: {', '.join(names)}")


class ProtocolError(SidelightError):
    """A message that the protocol does not allow here."""


class PrivacyError(SidelightError):
    """Training that would not keep the privacy that it promises."""


class StoreFull(SidelightError):
    """A quota, a capacity or a disk takes no more: nothing new is kept, and what was there stays."""
