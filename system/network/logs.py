"""What a server says of its work: one line of JSON an event, with names and numbers from a fixed list and nothing else.

Nobody can log a tensor, a label, a text, a token or a seed by accident: a field that is not on the list, or that is
neither a number nor a short word, is an error where it is written.
"""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO

import structlog

FIELDS = frozenset("device kind status reason bytes answer_bytes samples wanted seconds address protection".split())
"""What an event may tell."""
WORD = re.compile(r"[\w .,:;/()'%-]{0,200}\Z", re.ASCII)
"""What a value that is no number looks like."""

OTHER = re.compile(r"[^\w .,:;/()'%-]", re.ASCII)
"""What no value holds."""

Value = str | int | float | bool


class Log:
    """Writes events to a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._logger = structlog.wrap_logger(
            structlog.WriteLogger(stream or sys.stderr),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _checked,
                structlog.processors.JSONRenderer(sort_keys=False),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def say(self, event: str, **fields: Value) -> None:
        """Write an event."""
        self._logger.msg(event, **fields)


def worded(reason: str) -> str:
    """A reason as an event may tell it: what a library says of a full disk holds brackets and quotation marks."""
    return OTHER.sub(" ", reason)[:200]


def _checked(_logger: Any, _method: str, event: Any) -> Any:
    """Refuse what is not on the list; raises ValueError."""
    for name, value in event.items():
        if name not in FIELDS and name not in ("event", "timestamp"):
            raise ValueError(f"an event has no field {name!r}")
        if not isinstance(value, int | float) and not (isinstance(value, str) and WORD.match(value)):
            raise ValueError(f"the field {name!r} of an event is no number and no short word")
    return event
