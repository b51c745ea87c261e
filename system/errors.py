"""The errors a user meets, in one small tree.

SidelightError
├── UsageError      wrong usage or input: exit status 2
│   └── UnknownName     a name that no table holds, with the nearest right one
└── ProtocolError   a peer sent something that the protocol does not allow
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SidelightError(Exception):
    """Anything Sidelight raises on purpose; the message is one sentence for the user."""


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
